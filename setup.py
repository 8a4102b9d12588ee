"""Packaging of conadv_tf: what is static is in pyproject.toml."""

import sys

import setuptools

if not (3, 9) <= sys.version_info[:2] < (3, 12):
    sys.exit(
        "conadv_tf needs Python 3.9, 3.10 or 3.11 (TensorFlow 2.15 has no "
        f"other builds); this is Python {sys.version.split()[0]}. Make an "
        "environment with one of them: python3.11 -m venv venv"
    )

setuptools.setup()

"""Packaging of conadv_tf: what is static is in pyproject.toml."""

import sys

import setuptools

if not (3, 11) <= sys.version_info[:2] < (3, 14):
    sys.exit(
        "conadv_tf needs Python 3.11, 3.12 or 3.13 (TensorFlow with Keras 2 "
        f"has no other builds); this is Python {sys.version.split()[0]}. Make "
        "an environment with one of them: python3.11 -m venv venv"
    )

setuptools.setup()

"""Packaging of conadv_tf; tool settings are in pyproject.toml."""

import pathlib
import re
import sys

import setuptools

if not (3, 9) <= sys.version_info[:2] < (3, 12):
    sys.exit(
        "conadv_tf needs Python 3.9, 3.10 or 3.11 (TensorFlow 2.15 has no "
        f"other builds); this is Python {sys.version.split()[0]}. Make an "
        "environment with one of them: python3.11 -m venv venv"
    )

ROOT = pathlib.Path(__file__).parent
VERSION = re.search(
    r'__version__ = "(.+)"',
    (ROOT / "conadv_tf" / "__init__.py").read_text(encoding="utf-8"),
).group(1)

setuptools.setup(
    name="conadv_tf",
    version=VERSION,
    description="Concurrent Adversarial Learning for TensorFlow 2 and Keras",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    packages=setuptools.find_packages(include=["conadv_tf", "conadv_tf.*"]),
    package_data={"conadv_tf": ["py.typed"]},  # Its annotations count.
    python_requires=">=3.9,<3.12",
    install_requires=[
        # 2.15 with Keras 2.15: the last that tensorflow-addons runs with.
        "tensorflow>=2.15,<2.16",
        "tensorflow-addons>=0.23,<0.24",
        "keras-cv>=0.9,<0.10",
        "tensorflow-datasets>=4.9.3,<4.10",
        # Newer ones need a protobuf that TensorFlow 2.15 does not accept.
        "tensorflow-metadata<1.16",
        # tensorflow-datasets uses it without asking for it (through etils).
        "importlib_resources>=5",
        "absl-py>=1,<3",
        "numpy>=1.23,<2",
        # Eigenvalues of the Hessian.
        "scipy>=1.9,<2",
        # The embedded digits.
        "scikit-learn>=1.2,<2",
        # Plots of a run.
        "matplotlib>=3.6,<4",
    ],
    extras_require={
        "test": [
            "mypy>=1.11,<3",
            "pillow>=9",  # The reference of AutoAugment's operations.
            "psutil>=5",  # What a killed sweep leaves behind.
            "pytest>=7,<10",
            "pytest-xdist>=3,<4",  # Tests on two cores.
            "ruff>=0.6,<1",
        ]
    },
)

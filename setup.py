"""Packaging of conadv_tf: what is static is in pyproject.toml."""

import sys

import setuptools

if not (3, 10) <= sys.version_info[:2] < (3, 14):
    sys.exit(
        "conadv_tf needs Python 3.10 to 3.13 (TensorFlow with Keras 2 "
        f"has no other builds); this is Python {sys.version.split()[0]}. Make "
        "an environment with one of them: python3.11 -m venv venv"
    )

# The scripts go into the package of their commands.
COMMANDS = "conadv_tf_commands"
FOLDERS = {COMMANDS: "tools/commands"}
FOLDERS |= {f"{COMMANDS}.{name}": name for name in ("experiments", "tools")}
packages = setuptools.find_packages(include=["conadv_tf", "conadv_tf.*"])
for package, folder in FOLDERS.items():
    found = setuptools.find_packages(folder, exclude=["commands"])
    packages += [package, *(f"{package}.{name}" for name in found)]

setuptools.setup(packages=packages, package_dir=FOLDERS)

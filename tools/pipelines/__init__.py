"""Tools for the input pipeline and its augmentation."""

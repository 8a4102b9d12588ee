"""Scripts that measure and picture the package."""

"""Scripts that measure and picture what the package does."""

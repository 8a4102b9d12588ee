"""Ways to step."""

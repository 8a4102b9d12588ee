"""Training data looked at and timed; see tools/benchmark_input.py."""

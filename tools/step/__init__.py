"""What a training step costs, counted and timed; see tools/benchmark.py."""

"""Counts and times training steps, for benchmark.py and graph_report.py."""

"""Reads, measures and compares finished runs for tools/analyze.py."""

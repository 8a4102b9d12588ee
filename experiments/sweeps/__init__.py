"""Sweeps: which configurations, in which processes, and what came out."""

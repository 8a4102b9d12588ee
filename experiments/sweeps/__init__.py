"""Sweeps: grids of runs, their worker processes and their results."""

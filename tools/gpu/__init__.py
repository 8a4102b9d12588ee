"""Training steps timed on a GPU by JAX alone; see tools/gpu_export.py."""

"""What the TPU compiler makes of a step; see tools/tpu_report.py."""

"""Compiles training steps with the TPU compiler, for tpu_report.py."""

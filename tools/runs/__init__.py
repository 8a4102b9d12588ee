"""What finished runs came to, measured and compared; see tools/analyze.py."""

"""Networks that are known to convert; see tools/network_table.py."""

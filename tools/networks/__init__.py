"""Networks for tests of the conversion, and for network_table.py."""

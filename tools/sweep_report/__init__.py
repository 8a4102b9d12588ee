"""The report of tools/report.py on a sweep."""

"""A sweep as tables, tests, pictures and one page; see tools/report.py."""

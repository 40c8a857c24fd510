"""The schema's history, one file per revision, run by `migrate.py`."""

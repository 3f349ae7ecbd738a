"""Which VAEs have a tight bound, exactly: `python -m experiments.consistency --help`."""

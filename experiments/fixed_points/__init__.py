"""The theory's figures: `python -m experiments.fixed_points --help`."""

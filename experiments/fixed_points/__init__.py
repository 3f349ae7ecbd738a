"""The theory's plots: `python -m experiments.fixed_points --help`."""

"""Every prior on one toy, side by side: `python -m experiments.priors --help`."""

"""Speed of training steps and of log p(x): `python -m experiments.benchmark --help`."""

"""Experiment scripts: `python -m experiments.train --help`."""

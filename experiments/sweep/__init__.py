"""One experiment at many values in one program: `python -m experiments.sweep --help`."""

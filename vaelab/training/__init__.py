"""Training: a run is a function of its configuration and its data."""

"""One file an experiment: <data>_<prior>_<objective>.py, holding one `experiment`."""

"""Experiments as tables, and studies: see README.md."""

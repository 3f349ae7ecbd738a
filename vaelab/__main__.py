"""`python -m vaelab COMMAND`."""

from vaelab.cli import entry

entry()

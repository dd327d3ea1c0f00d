"""`python -m samspl`."""

from samspl.cli.main import entry

entry()

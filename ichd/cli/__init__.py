"""The command line: thin; what it does stands in `ichd.app`."""

from ichd.cli.main import main

__all__ = ["main"]

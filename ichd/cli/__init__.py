"""The command line: thin; what it does stands in `ichd.app`."""

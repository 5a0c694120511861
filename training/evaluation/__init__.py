"""A network or a bundle in front of scans that it has not learnt from."""

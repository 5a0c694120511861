"""The STOW-RS door."""

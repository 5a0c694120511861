"""Objects to destinations."""

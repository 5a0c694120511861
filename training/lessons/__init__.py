"""What a step learns from."""

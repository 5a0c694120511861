"""Wires the rooms together, once, from the settings."""

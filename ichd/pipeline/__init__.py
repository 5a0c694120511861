"""Claim, step, complete."""

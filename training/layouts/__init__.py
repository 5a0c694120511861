"""Synthetic data laid out exactly as the public data sets are, so that every step can be checked without them."""

"""Engines run a bundle's network: slices to embeddings, embeddings to probabilities."""

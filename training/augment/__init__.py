"""Random changes of slices, in batched tensor operations on any device."""

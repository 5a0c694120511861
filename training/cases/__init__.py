"""Which images there are, what is known of each, and which part of the work it serves: the index."""

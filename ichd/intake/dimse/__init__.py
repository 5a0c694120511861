"""The DIMSE door, from the first byte of a connection to the answer of a C-STORE."""

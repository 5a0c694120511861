"""The door: a DIMSE listener that says yes only to what is durable."""

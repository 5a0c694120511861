"""Tables, queue and spool: the only SQL, and the only place that knows where a file lies."""

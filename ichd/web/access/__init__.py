"""Who gets in at the web door, from where, by which name, and what every answer carries."""

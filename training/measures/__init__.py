"""How good are probabilities? Statistics on plain arrays; nothing here knows files or networks."""

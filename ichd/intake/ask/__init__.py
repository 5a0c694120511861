"""We ask: images that were not sent, how many there should be, and who should hear what we vouch for."""

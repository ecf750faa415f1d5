"""Claims about peers: for each the smallest case, its right value, and what every library makes of it."""

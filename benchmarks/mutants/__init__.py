"""Wrong arithmetic, one piece at a time, and what the tests say to it."""

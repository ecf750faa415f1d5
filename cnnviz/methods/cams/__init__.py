"""Class activation maps, and what they share."""

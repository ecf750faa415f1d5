"""Receptive fields: what every place of an activation sees of the input."""

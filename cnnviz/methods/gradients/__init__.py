"""Attributions from gradients at the input."""

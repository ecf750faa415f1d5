"""Gradient ascent on a picture, in the parts that ``maximize`` puts together."""

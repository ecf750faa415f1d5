"""Numpy in, numpy or a matplotlib Figure out."""

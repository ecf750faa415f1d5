"""Scans of data sets: resumable, shared among processes, the same bytes however they are divided."""

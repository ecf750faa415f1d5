"""Answers for a picture with one window changed, at the cost of what the window reaches."""

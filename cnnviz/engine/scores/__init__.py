"""Targets on a network's answers: what each image's score is.

- ``score``: targets with what the answer fills in, each image's score of its own target, and probabilities.
- ``dense``: answers for every pixel: which classes win where, and sums over regions.
- ``detection``: a detector's boxes: which one a target means, and its score.
"""

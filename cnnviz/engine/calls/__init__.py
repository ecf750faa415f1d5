"""What a forward's calls tell of a network.

- ``descent``: which of a forward's tensors are made from its input.
- ``cuts``: where a network cuts gradients inside its own forward, and going on after a layer all the same.
- ``steadiness``: networks that are not functions of their picture: random ones, and those that look at the batch.
"""

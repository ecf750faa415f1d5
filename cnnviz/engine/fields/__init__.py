"""Receptive fields: what every place of an activation sees of the input, found by running the network.

- ``trace``: the mode in which a forward carries along what every tensor sees, and the fields of layers from it.
- ``call``: an operation that ran on tensors with footprints.
- ``operations``: the rules: what each operation of torch does to footprints.
- ``footprint``: which dimensions of a tensor are places, and what happens where branches meet.
- ``parts``: where a view lies in its tensor, and what both see when one is written.
- ``axes``: what the places along one axis see, in pixels.
- ``reads``: which inputs each output of a convolution, pool, resizing or padding reads along one axis.
"""

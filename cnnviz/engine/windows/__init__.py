"""Answers for a picture with one window changed, at the cost of what the window reaches.

- ``window``: the grid of windows that hide parts of a picture, and the map that their values make.
- ``bottlenecks``: the layers that all a network knows of the picture passes through, and where their units look.
- ``route``: which segments between bottlenecks to run on parts of maps, and which parts.
- ``regional``: the network that answers along a route.
"""

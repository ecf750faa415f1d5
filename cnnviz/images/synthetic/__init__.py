"""Pictures that are drawn: what the bundled networks are trained on, and data sets without a file.

- ``scenes``: a shape on a background, with its class.
- ``outlines``: the outlines of the shapes.
- ``background``: palettes, textures and clutter.
- ``digits``: drawn digits.
"""

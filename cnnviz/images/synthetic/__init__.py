"""Pictures, signals and volumes that are drawn: what the bundled networks are trained on, and data sets without a file.

- ``scenes``: one to three shapes on a background, with their classes and masks.
- ``outlines``: the outlines of the shapes.
- ``background``: palettes, textures and clutter.
- ``digits``: drawn digits.
- ``events``: signals of two channels, with one event in one of them.
- ``solids``: volumes with one solid.
"""

"""Where networks come from, one file a source.

- ``bundled``: the networks that come with cnnviz.
- ``torchvision``: torchvision's, by name.
- ``timm``: timm's, by name.
- ``registries``: the names and weights of torchvision's and timm's networks, read without importing either.
- ``factory``: what the user's own Python code makes.
- ``exported``: ``.pt2`` files of ``torch.export``.
"""

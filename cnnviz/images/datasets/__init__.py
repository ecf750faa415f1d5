"""Data sets: many pictures by number, each with a stable key and perhaps a class, read one at a time.

- ``open``: the one opener of all kinds.
- ``dataset``: what a data set is.
- ``folders``: picture files in a folder tree or a list.
- ``tars``: WebDataset tars.
- ``huggingface``: tables of the library ``datasets``.
- ``memory``: what a script holds already.
- ``labelled``: another data set with the true class of every picture.
- ``shapes``: drawn scenes, which are a seed and a range.
"""

"""The one opener of data sets: folders, lists, tars, drawn shapes, tables of Hugging Face, what a script holds."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cnnviz.core.dimensions import KINDS, PICTURE
from cnnviz.core.sample import Entrance
from cnnviz.errors import PictureError, UsageError
from cnnviz.images.datasets.dataset import Dataset
from cnnviz.images.datasets.folders import open_list, open_tree
from cnnviz.images.datasets.huggingface import HuggingFaceDataset, is_hugging_face, open_hugging_face
from cnnviz.images.datasets.memory import open_memory
from cnnviz.images.datasets.shapes import open_shapes
from cnnviz.images.datasets.tars import RANGE, open_tars
from cnnviz.images.inputs import PICTURES, expand_paths
from cnnviz.images.reading import SUFFIXES, is_folder, quoted

__all__ = ["Dataset", "open_dataset"]

LISTS = (".txt", ".tsv")
COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
EXPECTED = "a folder, a list (.txt), tars ('name-{000..009}.tar'), shapes:COUNT, hf:NAME, or a sequence of pictures"


def open_dataset(source: Any, *, classes: bool | None = None, entrance: Entrance = PICTURES) -> Dataset:
    """Open a data set; no picture is read yet.

    Args:
        source: One of

            - a folder: all picture files in it and in the folders below, links followed;
            - a list, ``.txt`` or ``.tsv``: a path a line, relative to the list, and perhaps a tab (or spaces) and a
              class; ``#`` begins a comment;
            - WebDataset tars: ``"name-{000..009}.tar"``, one ``.tar``, or a sequence of them; classes from ``.cls``, or
              from ``cls``, ``label`` or ``class`` in ``.json``;
            - ``"shapes:5000"`` or ``"shapes:5000:7"``: so many drawn scenes of seed 0 (or 7), their shapes as classes;
            - ``"hf:NAME"`` or ``"hf:NAME:SPLIT"``, or a ``datasets.Dataset`` (Hugging Face);
            - a picture file; a sequence of paths, PIL images, arrays and pictures; a float tensor ``(N, C, H, W)``,
              which is network input already;
            - a ``Dataset``, returned as it is.
        classes: Whether the folders directly in a folder are classes (as torchvision's ``ImageFolder`` has them,
            sorted by name). None decides: they are if at least two hold pictures and no picture lies beside them; a
            note of the data set says so. Only for a folder.
        entrance: What the network takes (``model.preprocess.entrance``): left out, pictures. Of signals and volumes a
            data set is a folder of files, a file, a tensor, or a sequence of these, without classes.

    Raises:
        PictureError: If it is missing, cannot be read or holds no picture.
        MissingExtraError: If ``hf:`` is asked for and the library ``datasets`` is not installed.
        UsageError: If it is nothing of these kinds, or classes are asked of what is no folder.
    """
    path = Path(os.fsdecode(source)) if isinstance(source, (str, os.PathLike)) else None
    if entrance.places != PICTURE and not isinstance(source, Dataset):
        return _open_others(source, path, classes, entrance)
    if path is not None and path.is_dir():
        return open_tree(path, classes)
    if classes is not None:
        raise UsageError("Whether folders are classes can be said of a folder only; the data set is none.")
    if path is not None:
        return _open_named(os.fsdecode(source), path, entrance)
    return source if isinstance(source, Dataset) else _open_held(source, entrance)


def _open_held(source: Any, entrance: Entrance) -> Dataset:
    """What a script holds: a table of Hugging Face, names of tars, pictures and tensors."""
    if is_hugging_face(source):
        return HuggingFaceDataset(source)
    if isinstance(source, Sequence) and source and all(_is_tar(each) for each in source):
        return open_tars([os.fsdecode(each) for each in source])
    if isinstance(source, (list, tuple)):
        return open_memory([one for each in source for one in _files_of(each)], entrance)
    return open_memory(source, entrance)


def _files_of(source: Any) -> list[Any]:
    """The files of a folder that is named; anything else as it is."""
    named = isinstance(source, (str, os.PathLike)) and is_folder(Path(source))
    return list(expand_paths([os.fsdecode(source)])) if named else [source]


def _open_others(source: Any, path: Path | None, classes: bool | None, entrance: Entrance) -> Dataset:
    """A data set of signals or volumes."""
    if classes:
        raise UsageError(f"Folders are classes of pictures only; the network takes {KINDS[entrance.places]}s.")
    if path is None:
        return open_memory(source, entrance)
    data = open_memory(expand_paths([os.fsdecode(path)], entrance.places), entrance)
    data.name = path.name or data.name
    return data


def _open_named(text: str, path: Path, entrance: Entrance) -> Dataset:
    """What a text that names no folder stands for."""
    kind, mark, rest = text.partition(":")
    if mark and kind in ("shapes", "hf") and not path.exists():
        return open_shapes(rest) if kind == "shapes" else open_hugging_face(rest)
    if text.lower().endswith(COMPRESSED):
        raise PictureError(f"{quoted(text)} is compressed, and its pictures cannot be reached one by one; unpack it.")
    if _is_tar(text):
        return open_tars(text)
    if path.suffix.lower() in LISTS:
        return open_list(path)
    if path.suffix.lower() in SUFFIXES or path.is_file():
        return open_memory([path], entrance)
    raise PictureError(f"There is no folder or file {quoted(text)}; a data set is {EXPECTED}.")


def _is_tar(source: Any) -> bool:
    if not isinstance(source, (str, os.PathLike)):
        return False
    return RANGE.sub("", os.fsdecode(source)).lower().endswith(".tar")

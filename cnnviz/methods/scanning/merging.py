"""Putting the parts of a scan together that several jobs found."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from cnnviz.core.storing import write_whole
from cnnviz.errors import OutputError
from cnnviz.methods.scanning.finishing import finish
from cnnviz.methods.scanning.manifest import MANIFEST_FILE
from cnnviz.methods.scanning.shards import read_shards, same_manifest
from cnnviz.results.patch_index import PatchIndex

__all__ = ["merge_patches"]


def merge_patches(
    folders: str | os.PathLike[str] | Sequence[str | os.PathLike[str]], into: str | os.PathLike[str]
) -> PatchIndex:
    """Make the index of a scan whose shards several jobs found; it is, byte for byte, the one that a single job makes.

    Needs neither the network nor the pictures. The shards stay where they are.

    Args:
        folders: Folders that the jobs wrote to; one, if it was the same for all.
        into: Folder that the index is written to; may be one of them.

    Raises:
        OutputError: If the folders hold parts of different scans, shards are missing or damaged, or the index cannot be
            written.
        PictureError: If not one picture of the data set could be used.
    """
    several = [folders] if isinstance(folders, (str, os.PathLike)) else list(folders)
    paths, target = [Path(folder) for folder in several], Path(into)
    for path in paths:
        if not path.is_dir():
            raise OutputError(f"There is no folder '{path}' with parts of a scan.")
    manifest = same_manifest(paths)
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"The folder '{target}' cannot be made: {error.strerror or error}.") from error
    if target.resolve() not in {path.resolve() for path in paths}:
        if any((target / name).exists() for name in (MANIFEST_FILE, "index.safetensors")):
            raise OutputError(f"The folder '{target}' holds an index already; choose another folder, or delete it.")
        write_whole(target / MANIFEST_FILE, manifest.text.encode())
    index = finish(read_shards(manifest, paths), manifest)
    index.write(target)
    return index

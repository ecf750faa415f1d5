"""Files that networks and weights come in: whether one is there, and what it is by its content."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Literal, TypeAlias

from cnnviz.core.untrusted import open_ordinary
from cnnviz.errors import ModelError

__all__ = [
    "SWOLLEN_ADVICE",
    "TORCHSCRIPT_ADVICE",
    "FileKind",
    "existing_file",
    "file_kind",
    "looks_like_file",
    "wants_random",
]

FileKind: TypeAlias = Literal["exported", "torchscript", "checkpoint", "safetensors", "pickle", "swollen", "unknown"]
"""A swollen file is an archive that unpacks to far more than weights ever do, and would fill the memory."""

TORCHSCRIPT_ADVICE = (
    "is a TorchScript file, whose layers cannot be hooked; "
    "export the network anew with torch.export.save to a .pt2 file."
)
SUFFIXES = {".pt2", ".pt", ".pth", ".torchscript", ".safetensors", ".ckpt", ".bin", ".tar", ".pkl", ".onnx", ".py"}
SWOLLEN_ADVICE = "is an archive that unpacks to many times its size; expected a file as torch.save writes it."

UNREADABLE = (zipfile.BadZipFile, OSError, ValueError, NotImplementedError)
MOST_SWOLLEN = 20
LENGTH_BYTES, LONGEST_HEADER = 8, 100_000_000
LEGACY_STARTS = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


def looks_like_file(text: str) -> bool:
    """Whether a name can only be meant as a file: it exists, has a folder in it or a suffix of such files."""
    path = Path(text)
    return path.suffix.lower() in SUFFIXES or os.sep in text or "/" in text or path.is_file()


def wants_random(weights: str | os.PathLike[str] | None) -> bool:
    """Whether random weights were asked for, by the word ``none``."""
    return isinstance(weights, str) and weights.lower() == "none"


def existing_file(path: str | os.PathLike[str], what: str, error: type[ModelError]) -> Path:
    """The path, once it is sure to be a file with something in it.

    Args:
        path: What the user gave.
        what: What the file should be, such as ``"weights file"``.
        error: The class to raise.

    Raises:
        ModelError: As ``error``: there is no such file, or it is a folder, empty or unreadable.
    """
    file = Path(path).expanduser()
    if file.is_dir():
        raise error(f"'{path}' is a folder; expected a {what}.")
    try:
        with open_ordinary(file) as stream:
            if not stream.read(1):
                raise error(f"The {what} '{path}' is empty.")
    except FileNotFoundError:
        raise error(f"There is no {what} '{path}'.") from None
    except (OSError, ValueError) as problem:
        reason = getattr(problem, "strerror", None) or problem
        raise error(f"The {what} '{path}' cannot be read: {reason}.") from None
    return file


def file_kind(file: Path) -> FileKind:
    """What a file is, by its content and not by its name."""
    try:
        if zipfile.is_zipfile(file):
            return _archive_kind(file)
    except UNREADABLE:
        return "unknown"
    with file.open("rb") as stream:
        start = stream.read(LENGTH_BYTES + 1)
    length = int.from_bytes(start[:LENGTH_BYTES], "little")
    if start[LENGTH_BYTES:] == b"{" and 1 < length <= LONGEST_HEADER:
        return "safetensors"
    return "pickle" if start.startswith(LEGACY_STARTS) else "unknown"


def _archive_kind(file: Path) -> FileKind:
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
        if sum(entry.file_size for entry in archive.infolist()) > MOST_SWOLLEN * file.stat().st_size:
            return "swollen"
    inner = {name.split("/", 1)[-1] for name in names}
    if "constants.pkl" in inner or any(name.startswith("code/") for name in inner):
        return "torchscript"
    if "archive_format" in inner or "serialized_exported_program.json" in names:
        return "exported"
    return "checkpoint" if "data.pkl" in inner else "unknown"

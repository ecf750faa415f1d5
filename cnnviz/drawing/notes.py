"""The note inside a file: how each format holds it, and how it is find_note again."""

from __future__ import annotations

import codecs
import gzip
import hashlib
import io
import json
import re
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cnnviz.core.untrusted import parse_json
from cnnviz.errors import MissingExtraError
from cnnviz.provenance import plain_text

__all__ = [
    "MARK",
    "NIFTI_COMMENT",
    "NOTE_KEY",
    "STORE",
    "UNREADABLE",
    "exif",
    "find_note",
    "ELEMENT",
    "embed_note",
    "from_page",
    "from_sidecar",
    "load_av",
    "read_member",
]

ELEMENT = "cnnviz-provenance"
"""The block's id."""

_OPENED, _CLOSED = f'<script type="application/json" id="{ELEMENT}">', "</script>"
_ESCAPED = re.compile(r"\\(u003c|.)", re.DOTALL)


def embed_note(note: str) -> str:
    """JSON text as it can stand in a page: no ``<`` in it could end the block."""
    return note.replace("<", r"\u003c")


def from_page(path: Path) -> str | None:
    """The note in a page, or None when it holds none of ours."""
    _, opened, rest = path.read_text(encoding="utf-8").partition(_OPENED)
    note, closed, _ = rest.partition(_CLOSED)
    return _ESCAPED.sub(lambda hit: "<" if hit[1] == "u003c" else hit[0], note) if opened and closed else None


DIGEST = "sha256"


def from_sidecar(path: Path) -> str | None:
    """The note that earlier versions wrote beside a video, in ``clip.mp4.json``; None where it is of other bytes."""
    sidecar = path.with_name(f"{path.name}.json")
    if not sidecar.is_file():
        return None
    held = parse_json(sidecar.read_text("utf-8"))
    if not isinstance(held, dict) or held.pop(DIGEST, None) != _digest(path):
        return None
    return plain_text(json.dumps(held, sort_keys=True, ensure_ascii=False))


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


MARK = "cnnviz"
"""What a file of ours says it was made with."""

NOTE_KEY = "provenance"
LARGEST_NOTE = 1 << 26
"""Bytes that a note unpacks to at most."""

UNREADABLE = (
    OSError, ValueError, SyntaxError, LookupError, TypeError, RuntimeError, MemoryError, EOFError, ImportError,
    struct.error, zlib.error, tokenize.TokenError, zipfile.BadZipFile, Image.DecompressionBombError,
)  # fmt: skip
"""What the formats' readers raise over a damaged file; ImportError where another package replaced Pillow's ``open``."""

_DESCRIPTION, _SOFTWARE, _ASCII = 0x010E, 0x0131, 2
_DUBLIN_CORE = "{http://purl.org/dc/elements/1.1/}"
_PDF_STRING = rb"\(((?:[^\\()]|\\.)*)\)"


def exif(note: str) -> bytes:
    """An Exif block with the note as its description, in UTF-8, and cnnviz as its software."""
    texts = {tag: text.encode().ljust(4, b"\0") + b"\0" for tag, text in ((_DESCRIPTION, note), (_SOFTWARE, MARK))}
    start = 8 + 2 + 12 * len(texts) + 4
    entries, data = b"", b""
    for tag, text in texts.items():
        entries += struct.pack("<HHLL", tag, _ASCII, len(text), start + len(data))
        data += text
    return b"Exif\0\0II*\0" + struct.pack("<LH", 8, len(texts)) + entries + struct.pack("<L", 0) + data


def find_note(path: Path, suffix: str) -> str | None:
    """The note in a file, or None when it holds none of ours; a broken file raises one of ``UNREADABLE``."""
    if suffix in _READERS:
        return _READERS[suffix](path)
    with Image.open(path) as image:
        if suffix == ".gif":
            ours, mark, note = image.info.get("comment", b"").partition(b" ")
            return note.decode() if mark and ours == MARK.encode() else None
        if suffix == ".png":
            image.load()
            texts = getattr(image, "text", {})
            return str(texts[MARK]) if MARK in texts else None
        tags = image.getexif()
        ours = tags.get(_SOFTWARE) == MARK and _DESCRIPTION in tags
        return str(tags[_DESCRIPTION]).rstrip("\0").encode("latin-1").decode() if ours else None


def _from_video(path: Path) -> str | None:
    """The note in a video, or beside one of an earlier version."""
    try:
        own = _from_comment(path)
    except (MissingExtraError, ValueError):
        if (beside := from_sidecar(path)) is None:
            raise
        return beside
    return from_sidecar(path) if own is None else own


def load_av(what: str) -> Any:
    """PyAV, which reads and writes videos.

    Args:
        what: What needs it, as the message begins.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise MissingExtraError(what, "video") from error
    return av


def _from_comment(path: Path) -> str | None:
    av = load_av(f"Reading the record in '{path.name}'")
    try:
        with av.open(str(path)) as video:
            ours, mark, note = video.metadata.get("comment", "").partition(" ")
    except av.FFmpegError as error:
        raise ValueError("not a video") from error
    return note if mark and ours == MARK else None


def _from_npz(path: Path) -> str | None:
    with zipfile.ZipFile(path) as archive:
        if f"{NOTE_KEY}.npy" not in archive.namelist():
            return None
        return str(read_member(archive, f"{NOTE_KEY}.npy", LARGEST_NOTE))


def read_member(archive: zipfile.ZipFile, name: str, most: int) -> NDArray[Any]:
    """An array in an ``.npz``, however large its header says it is.

    Args:
        archive: The open file.
        name: The member's name.
        most: Bytes that it may unpack to.

    Raises:
        ValueError: If it is larger, or damaged; or any other of ``UNREADABLE``.
    """
    with archive.open(name) as member:
        content = member.read(most + 1)
    if len(content) > most:
        raise ValueError(f"'{name}' unpacks to more than {most} bytes")
    held: NDArray[Any] = np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
    return held


def _from_svg(path: Path) -> str | None:
    root = ElementTree.parse(path).getroot()
    creator = root.find(f".//{_DUBLIN_CORE}creator")
    creators = [] if creator is None else [(node.text or "").strip() for node in creator.iter()]
    description = root.find(f".//{_DUBLIN_CORE}description")
    return description.text or "" if MARK in creators and description is not None else None


def _from_pdf(path: Path) -> str | None:
    content = path.read_bytes()
    if not content.startswith(b"%PDF"):
        raise ValueError("not a PDF")
    creator = re.search(rb"/Creator\s*" + _PDF_STRING, content)
    keywords = re.search(rb"/Keywords\s*" + _PDF_STRING, content, re.DOTALL)
    if not creator or not keywords or _pdf_text(creator[1]) != MARK:
        return None
    return _pdf_text(keywords[1])


def _from_coco(path: Path) -> str | None:
    content = parse_json(path.read_text(encoding="utf-8"))
    described = content.get("info") if isinstance(content, dict) else None
    note = described.get(NOTE_KEY) if isinstance(described, dict) else None
    return json.dumps(note) if isinstance(note, dict) else None


def _pdf_text(escaped: bytes) -> str:
    named = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"f": b"\f"}
    text = re.sub(
        rb"\\([0-7]{1,3}|.)",
        lambda hit: bytes([int(hit[1], 8)]) if hit[1].isdigit() else named.get(hit[1], hit[1]),
        escaped,
        flags=re.DOTALL,
    )
    return text[2:].decode("utf-16-be") if text.startswith(codecs.BOM_UTF16_BE) else text.decode("latin-1")


NIFTI_HEAD: Final = 348
"""Bytes of a NIfTI header; what is told besides begins four bytes farther on."""

NIFTI_COMMENT: Final = 6
"""The code of words among what is told besides."""


def _from_nifti(path: Path) -> str | None:
    with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as file:
        head = file.read(NIFTI_HEAD + 4)
        if len(head) < NIFTI_HEAD + 4 or struct.unpack("<i", head[:4]) != (NIFTI_HEAD,):
            raise ValueError("not a NIfTI file")
        place, end = NIFTI_HEAD + 4, int(struct.unpack_from("<f", head, 108)[0])
        while head[NIFTI_HEAD] and place + 8 <= end:
            size, code = struct.unpack("<ii", file.read(8))
            if not 8 <= size <= LARGEST_NOTE:
                raise ValueError("not a NIfTI file")
            content = file.read(size - 8)
            ours, mark, note = content.partition(b" ")
            if code == NIFTI_COMMENT and mark and ours == MARK.encode():
                return note.rstrip(b"\0").decode()
            place += size
    return None


STORE: Final = ".zarr"
"""How the name of a store of maps ends, which is a folder."""


def _from_store(path: Path) -> str | None:
    held = parse_json((path / "zarr.json").read_bytes())
    attributes = held.get("attributes") if isinstance(held, dict) else None
    note = attributes.get(MARK) if isinstance(attributes, dict) else None
    return plain_text(json.dumps({MARK: note}, sort_keys=True, ensure_ascii=False)) if isinstance(note, dict) else None


_READERS: Mapping[str, Callable[[Path], str | None]] = {
    ".npz": _from_npz,
    ".svg": _from_svg,
    ".pdf": _from_pdf,
    ".html": from_page,
    ".htm": from_page,
    ".mp4": _from_video,
    ".json": _from_coco,
    STORE: _from_store,
    ".nii": _from_nifti,
    ".nii.gz": _from_nifti,
}

"""Animated GIF and WebP, written frame by frame: whatever the length, one frame is held in memory."""

from __future__ import annotations

import io
import struct
from typing import BinaryIO, Final, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cnnviz.drawing.notes import MARK, exif

__all__ = ["GifStream", "Stream", "WebPStream"]

GIF_HEADER, GIF_TABLE_AT, GIF_ENTRY = 13, 10, 3
GIF_COLOURS: Final = 256
GIF_BLOCK: Final = 255
SHORTEST_HUNDREDTHS: Final = 2
"""Viewers show what is shorter as a tenth of a second."""

WEBP_QUALITY, WEBP_METHOD = 90, 4
ANIMATED, WITH_EXIF, NOT_BLENDED = 0x02, 0x08, 0x02


class Stream(Protocol):
    """Takes one frame after another; each ``(H, W, 3)`` uint8, RGB, shown for so many milliseconds."""

    def add(self, frame: NDArray[np.uint8], milliseconds: float) -> None:
        """Write a frame."""
        ...

    def finish(self) -> None:
        """Write what comes after the last frame."""
        ...


class GifStream:
    """A GIF that starts again for ever; every frame has the 256 colours that suit it best, dithered.

    Args:
        file: Where to.
        size: Height and width of every frame.
        note: Kept as the GIF's comment, after cnnviz's name.
    """

    def __init__(self, file: BinaryIO, size: tuple[int, int], note: str) -> None:
        self._file = file
        self._late = 0.0
        file.write(b"GIF89a" + struct.pack("<HHBBB", size[1], size[0], 0x70, 0, 0))
        file.write(b"\x21\xff\x0bNETSCAPE2.0\x03\x01\0\0\0")
        file.write(b"\x21\xfe" + _in_blocks(f"{MARK} {note}".encode()) + b"\0")

    def add(self, frame: NDArray[np.uint8], milliseconds: float) -> None:
        """Write a frame; hundredths of a second that it is shown too long or too short are made up by later ones."""
        wanted = milliseconds / 10 + self._late
        shown = max(SHORTEST_HUNDREDTHS, round(wanted))
        self._late = wanted - shown
        self._file.write(b"\x21\xf9\x04\x04" + struct.pack("<H", shown) + b"\0\0")
        self._file.write(_gif_picture(frame))

    def finish(self) -> None:
        """Write the end."""
        self._file.write(b"\x3b")


class WebPStream:
    """A WebP that starts again for ever, every frame as a WebP picture of quality 90.

    Args:
        file: Where to.
        size: Height and width of every frame.
        note: Kept in the Exif block.
    """

    def __init__(self, file: BinaryIO, size: tuple[int, int], note: str) -> None:
        self._file = file
        self._size = _three(size[1] - 1) + _three(size[0] - 1)
        self._note = note
        file.write(b"RIFF\0\0\0\0WEBP")
        file.write(_chunk(b"VP8X", struct.pack("<L", ANIMATED | WITH_EXIF) + self._size))
        file.write(_chunk(b"ANIM", b"\xff\xff\xff\xff\0\0"))

    def add(self, frame: NDArray[np.uint8], milliseconds: float) -> None:
        """Write a frame."""
        held = io.BytesIO()
        Image.fromarray(frame).save(held, "WEBP", quality=WEBP_QUALITY, method=WEBP_METHOD)
        place = _three(0) + _three(0) + self._size + _three(round(milliseconds)) + bytes([NOT_BLENDED])
        self._file.write(_chunk(b"ANMF", place + held.getvalue()[12:]))

    def finish(self) -> None:
        """Write the note, and the file's length into its head."""
        self._file.write(_chunk(b"EXIF", exif(self._note).removeprefix(b"Exif\0\0")))
        length = self._file.tell()
        self._file.seek(4)
        self._file.write(struct.pack("<L", length - 8))
        self._file.seek(length)


def _gif_picture(frame: NDArray[np.uint8]) -> bytes:
    """A frame as GIF holds one among others: its place, its colours, its compressed pixels."""
    image = Image.fromarray(frame)
    colours = image.quantize(GIF_COLOURS, Image.Quantize.MEDIANCUT)
    drawn = image.quantize(GIF_COLOURS, palette=colours, dither=Image.Dither.FLOYDSTEINBERG)
    held = io.BytesIO()
    drawn.save(held, "GIF", interlace=0, optimize=False)
    content = held.getvalue()
    bits = content[GIF_TABLE_AT] & 0x07
    end = GIF_HEADER + GIF_ENTRY * 2 ** (bits + 1)
    table, start = content[GIF_HEADER:end], _picture_start(content, end)
    return content[start : start + 9] + bytes([0x80 | bits]) + table + content[start + 10 : -1]


def _picture_start(content: bytes, position: int) -> int:
    """Where a GIF's picture begins: after the extensions, each in blocks that say how long they are."""
    while content[position] == 0x21:
        position += 2
        while content[position]:
            position += content[position] + 1
        position += 1
    return position


def _in_blocks(text: bytes) -> bytes:
    pieces = [text[start : start + GIF_BLOCK] for start in range(0, len(text), GIF_BLOCK)]
    return b"".join(bytes([len(piece)]) + piece for piece in pieces)


def _chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<L", len(content)) + content + b"\0" * (len(content) % 2)


def _three(number: int) -> bytes:
    return struct.pack("<L", number)[:3]

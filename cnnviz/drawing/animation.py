"""Animations: frames one after another into a GIF, a WebP or an MP4, whole or not at all."""

from __future__ import annotations

import io
import struct
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cnnviz.core.atomic import replacing
from cnnviz.drawing.files import ensure_writable, load_encoder
from cnnviz.drawing.notes import MARK, exif
from cnnviz.errors import OutputError, ParameterError

__all__ = [
    "ANIMATION_SUFFIXES",
    "MOST_A_SECOND",
    "VIDEO_SUFFIXES",
    "FrameWriter",
    "GifStream",
    "Stream",
    "WebPStream",
]

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
        file.write(b"\x21\xfe" + _split_into_blocks(f"{MARK} {note}".encode()) + b"\0")

    def add(self, frame: NDArray[np.uint8], milliseconds: float) -> None:
        """Write a frame; hundredths of a second that it is shown too long or too short are made up by later ones."""
        wanted = milliseconds / 10 + self._late
        shown = max(SHORTEST_HUNDREDTHS, round(wanted))
        self._late = wanted - shown
        self._file.write(b"\x21\xf9\x04\x04" + struct.pack("<H", shown) + b"\0\0")
        self._file.write(_encode_gif_frame(frame))

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
        self._size = _three_bytes(size[1] - 1) + _three_bytes(size[0] - 1)
        self._note = note
        file.write(b"RIFF\0\0\0\0WEBP")
        file.write(_riff_chunk(b"VP8X", struct.pack("<L", ANIMATED | WITH_EXIF) + self._size))
        file.write(_riff_chunk(b"ANIM", b"\xff\xff\xff\xff\0\0"))

    def add(self, frame: NDArray[np.uint8], milliseconds: float) -> None:
        """Write a frame."""
        held = io.BytesIO()
        Image.fromarray(frame).save(held, "WEBP", quality=WEBP_QUALITY, method=WEBP_METHOD)
        place = 2 * _three_bytes(0) + self._size + _three_bytes(round(milliseconds)) + bytes([NOT_BLENDED])
        self._file.write(_riff_chunk(b"ANMF", place + held.getvalue()[12:]))

    def finish(self) -> None:
        """Write the note, and the file's length into its head."""
        self._file.write(_riff_chunk(b"EXIF", exif(self._note).removeprefix(b"Exif\0\0")))
        length = self._file.tell()
        self._file.seek(4)
        self._file.write(struct.pack("<L", length - 8))
        self._file.seek(length)


def _encode_gif_frame(frame: NDArray[np.uint8]) -> bytes:
    """A frame as GIF holds one among others: its place, its colours, its compressed pixels."""
    image = Image.fromarray(frame)
    colours = image.quantize(GIF_COLOURS, Image.Quantize.MEDIANCUT)
    drawn = image.quantize(GIF_COLOURS, palette=colours, dither=Image.Dither.FLOYDSTEINBERG)
    held = io.BytesIO()
    drawn.save(held, "GIF", interlace=0, optimize=False)
    content = held.getvalue()
    bits = content[GIF_TABLE_AT] & 0x07
    end = GIF_HEADER + GIF_ENTRY * 2 ** (bits + 1)
    table, start = content[GIF_HEADER:end], _find_picture(content, end)
    return content[start : start + 9] + bytes([0x80 | bits]) + table + content[start + 10 : -1]


def _find_picture(content: bytes, position: int) -> int:
    """Where a GIF's picture begins: after the extensions, each in blocks that say how long they are."""
    while content[position] == 0x21:
        position += 2
        while content[position]:
            position += content[position] + 1
        position += 1
    return position


def _split_into_blocks(text: bytes) -> bytes:
    pieces = [text[start : start + GIF_BLOCK] for start in range(0, len(text), GIF_BLOCK)]
    return b"".join(bytes([len(piece)]) + piece for piece in pieces)


def _riff_chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<L", len(content)) + content + b"\0" * (len(content) % 2)


def _three_bytes(number: int) -> bytes:
    return struct.pack("<L", number)[:3]


VIDEO_SUFFIXES: Final = (".mp4",)
ANIMATION_SUFFIXES: Final = (".gif", ".webp", *VIDEO_SUFFIXES)


MOST_A_SECOND: Final = 240
_LONGEST_SIDE = {".gif": 65_535, ".webp": 16_383, ".mp4": 8_192}
_LONGEST_NOTE = 65_000


class FrameWriter:
    """Writes frames into a file as they come; a context, inside which :meth:`add` takes them.

    The file takes its place once the context is left, and not at all when an exception leaves it. The same frames give
    the same bytes, and every format holds the note.

    Args:
        path: Ends in .gif, .webp or .mp4 (H.264 video; a side of odd length is one pixel longer there).
        fps: Frames a second, above 0 and up to 240.
        note: A JSON object as text, to be read back with :func:`cnnviz.drawing.files.read_note`.

    Raises:
        OutputError: The file cannot be written, or for the format the frames or the note are too large.
        ParameterError: fps is out of bounds, or a frame has another shape or type than the first.
        MissingExtraError: A video is to be written, and PyAV is not installed.
    """

    def __init__(self, path: Path, fps: float, note: str) -> None:
        ensure_writable(path, force=True, suffixes=ANIMATION_SUFFIXES)
        if not 0 < fps <= MOST_A_SECOND:
            raise ParameterError(f"fps is a number of frames a second above 0 and up to {MOST_A_SECOND}, not {fps:g}.")
        if path.suffix.lower() == ".webp" and len(note.encode()) > _LONGEST_NOTE:
            raise OutputError(f"What is to be noted in '{path.name}' is too long for .webp; use .gif or .mp4.")
        self._path, self._fps, self._note = path, fps, note
        self._stack = ExitStack()
        self._stream: Stream | None = None
        self._shape: tuple[int, ...] = ()

    def __enter__(self) -> Self:
        self._file = self._stack.enter_context(replacing(self._path))
        return self

    def add(self, frame: NDArray[np.uint8], *, seconds: float | None = None) -> None:
        """Write one frame.

        Args:
            frame: ``(H, W, 3)`` uint8, RGB, of the same size as all others.
            seconds: How long it is shown; default: as long as frames usually are.
        """
        if self._stream is None:
            self._shape = self._check_first(frame)
            self._stream = self._open_stream(frame.shape[0], frame.shape[1])
        elif frame.shape != self._shape or frame.dtype != np.uint8:
            raise ParameterError(
                f"Every frame is like the first, uint8 {self._shape}; got {frame.dtype} {frame.shape}."
            )
        self._stream.add(frame, 1000 * (1 / self._fps if seconds is None else seconds))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._stack.__exit__(kind, error, trace)
            return
        with self._stack:
            self._finish()

    def _finish(self) -> None:
        if self._stream is None:
            raise OutputError(f"There is no frame to write into '{self._path.name}'.")
        self._stream.finish()

    def _check_first(self, frame: NDArray[np.uint8]) -> tuple[int, ...]:
        if frame.ndim != 3 or frame.shape[2] != 3 or 0 in frame.shape or frame.dtype != np.uint8:
            raise ParameterError(f"A frame is uint8 of shape (h, w, 3), not {frame.dtype} of shape {frame.shape}.")
        suffix = self._path.suffix.lower()
        most = _LONGEST_SIDE[suffix]
        if max(frame.shape) > most:
            raise OutputError(f"A {suffix} animation has at most {most} pixels a side, not {max(frame.shape)}.")
        return frame.shape

    def _open_stream(self, height: int, width: int) -> Stream:
        suffix = self._path.suffix.lower()
        if suffix in VIDEO_SUFFIXES:
            video = VideoStream(Path(self._file.name), self._path.name, (height, width), self._fps, self._note)
            self._stack.callback(video.release)
            return video
        kind = GifStream if suffix == ".gif" else WebPStream
        return kind(self._file, (height, width), self._note)


MP4_OPTIONS: Final = {"movflags": "+faststart", "fflags": "+bitexact"}
H264_OPTIONS: Final = {"crf": "17", "preset": "medium", "tune": "animation"}
BT709, LIMITED_RANGE = 1, 1


class VideoStream:
    """H.264 video by PyAV: frames at a steady pace, each shown once or as often as its time asks for.

    One thread encodes, since with several the same frames can give other bytes. The index stands before the pictures,
    so that a browser can start before it has all of the file.

    Args:
        part: The file that is written.
        name: What it is going to be called.
        size: Height and width of every frame; where one is odd, the last row or column is repeated.
        fps: Frames a second.
        note: Kept as the file's comment, after cnnviz's name.

    Raises:
        MissingExtraError: PyAV is not installed.
        OutputError: It cannot write this.
    """

    def __init__(self, part: Path, name: str, size: tuple[int, int], fps: float, note: str) -> None:
        av = load_encoder()
        height, width = (side + side % 2 for side in size)
        self._padding = [(0, height - size[0]), (0, width - size[1]), (0, 0)]
        self._encode = av.VideoFrame.from_ndarray
        self._fps, self._late, self._count = fps, 0.0, 0
        self._file = av.open(str(part), "w", format="mp4", options=MP4_OPTIONS)
        self._file.metadata["comment"] = f"{MARK} {note}"
        try:
            self._stream = self._file.add_stream("libx264", Fraction(fps).limit_denominator(1001), H264_OPTIONS)
        except ValueError as error:
            raise OutputError(f"'{name}' needs a build of PyAV with the encoder libx264; use .gif or .webp.") from error
        self._stream.height, self._stream.width, self._stream.pix_fmt = height, width, "yuv420p"
        context = self._stream.codec_context
        context.thread_count = 1
        context.colorspace = context.color_primaries = context.color_trc = BT709
        context.color_range = LIMITED_RANGE

    def add(self, frame: NDArray[np.uint8], milliseconds: float) -> None:
        """Write a frame, more than once where it is shown longer than the others."""
        even = np.ascontiguousarray(np.pad(frame, self._padding, mode="edge"))
        shown = self._encode(even, "rgb24").reformat(
            format="yuv420p", src_colorspace=BT709, dst_colorspace=BT709, dst_color_range=LIMITED_RANGE
        )
        wanted = milliseconds * self._fps / 1000 + self._late
        times = max(1, round(wanted))
        self._late = wanted - times
        for number in range(self._count, self._count + times):
            shown.pts = number
            self._file.mux(self._stream.encode(shown))
        self._count += times

    def finish(self) -> None:
        """Write what the encoder still holds, and the index."""
        self._file.mux(self._stream.encode())
        self.release()

    def release(self) -> None:
        """Close the file, whatever is in it."""
        self._file.close()

"""Clips: the frames of a video, an animated GIF or WebP, one after another."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageSequence

from cnnviz.core.change import quiet_opencv
from cnnviz.core.picture import LUMA, Picture
from cnnviz.core.sample import Entrance, Volume
from cnnviz.errors import PictureError
from cnnviz.images.arrays import channel_first, check_room, checked_values
from cnnviz.images.reading import as_picture, check_size, quoted, read_picture

__all__ = ["VIDEO_SUFFIXES", "Clip", "VideoFrame", "as_clip", "is_clip", "open_clip", "read_clip"]

VIDEO_SUFFIXES: Final = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".ogv")
"""File name endings taken for videos."""

ANIMATED_SUFFIXES: Final = (".gif", ".webp", ".png")
_EXPECTED: Final = "expected a video such as an .mp4, or an animated GIF, WebP or PNG"
USUAL_PACE: Final = 25.0
FASTEST: Final = 240.0
_WHOLE: Final = 1e-6
"""What a number that should be whole may lack of it."""
USUAL_SECONDS: Final = 0.1
"""What viewers make of an animated frame that says no time."""


class VideoFrame(NamedTuple):
    """One frame, and for how many seconds it is shown."""

    picture: Picture
    seconds: float


@dataclass(frozen=True)
class Clip:
    """A file with frames; iterating reads them anew each time, one by one.

    Attributes:
        path: The file.
        fps: Frames a second; of a GIF or WebP on average.
        size: Height and width of every frame, upright.
        count: How many frames the file says it has; of a video an estimate.
        animated: Whether it is a picture of several frames and no video.
    """

    path: Path
    fps: float
    size: tuple[int, int]
    count: int
    animated: bool = False

    @property
    def name(self) -> str:
        """The file's name, without its folder."""
        return self.path.name

    def __iter__(self) -> Iterator[VideoFrame]:
        frames = _animated_frames(self.path) if self.animated else _video_frames(self.path, 1 / self.fps)
        for number, frame in enumerate(frames):
            if frame.picture.size != self.size:
                raise PictureError(
                    f"Frame {number + 1} of {quoted(self.name)} is {_size_text(frame.picture.size)} pixels, the first "
                    f"{_size_text(self.size)}; expected frames of one size."
                )
            yield frame


def is_clip(path: str | os.PathLike[str]) -> bool:
    """Whether a file is taken for a clip: by its ending for a video, or an animated picture of several frames."""
    where = Path(path)
    return where.suffix.lower() in VIDEO_SUFFIXES or _is_animated(where)


def open_clip(path: str | os.PathLike[str]) -> Clip:
    """Open a video, or an animated GIF, WebP or PNG; a video's frames are turned upright as its file says.

    Raises:
        PictureError: There is no such file, or it holds no frame that can be read.
    """
    where = Path(path)
    if where.suffix.lower() not in VIDEO_SUFFIXES or not where.is_file():
        first = read_picture(where)  # says what is wrong with a file that is none
        if not _is_animated(where):
            raise PictureError(f"{quoted(where.name)} is a single picture; {_EXPECTED}.")
        return _animated_clip(where, first)
    capture, shown = _open_video(where), f"A frame of {quoted(where.name)}"
    try:
        check_size((int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))), shown)
        said, count = capture.get(cv2.CAP_PROP_FPS), capture.get(cv2.CAP_PROP_FRAME_COUNT)
    finally:
        capture.release()
    frame = next(_video_frames(where, 1.0), None)
    if frame is None:
        raise PictureError(f"{quoted(where.name)} holds no frame that can be read; expected a video that is whole.")
    fps = float(said) if 0 < said <= FASTEST else USUAL_PACE
    return Clip(where, fps, frame.picture.size, int(count) if 0 < count < np.iinfo(np.int32).max else 1)


def read_clip(path: str | os.PathLike[str], entrance: Entrance) -> Volume:
    """The frames of a clip that a network of clips is given: as many a second as it takes, about the middle.

    Args:
        path: A video or an animated picture.
        entrance: What the network takes: its frames a second, how many of them, and how many channels.

    Returns:
        Red, green and blue ``(3, T, H, W)``, 0 to 255, or their luma ``(1, T, H, W)``; with the rate of its frames.

    Raises:
        PictureError: It holds no frame that can be read, or its frames do not fit into memory.
    """
    clip = open_clip(path)
    wanted, rate, notes = _choose_frames(clip.count, clip.fps, entrance)
    check_room((3, len(wanted), *clip.size), quoted(clip.name), 10)
    frames, seen = _frames_at(clip, wanted)
    if len(frames) < len(wanted):  # the number that the file says is an estimate
        wanted, rate, notes = _choose_frames(seen, clip.fps, entrance)
        frames, _ = _frames_at(clip, wanted)
    values = np.moveaxis(np.stack(frames), -1, 0).astype(np.float32)
    return _clip_of(values, clip.name, rate, entrance, notes)


def as_clip(item: NDArray[Any] | Volume, name: str, entrance: Entrance) -> Volume:
    """An array or a stack of slices as a clip, of as many frames about the middle as a network of clips takes.

    Args:
        item: ``(T, H, W, 3)`` or ``(3, T, H, W)``, uint8 or floats in [0, 1]; or slices with values of 8 bits.
        name: What an array is called.
        entrance: What the network takes; its frames a second are taken for those of the item.

    Raises:
        PictureError: It has another shape, or values that are no colours.
    """
    if isinstance(item, Volume):
        values, name, notes = item.values, item.name, item.notes
        bright = False
    else:
        placed, notes = channel_first(item, entrance.channels, name, "THW")
        values, _ = checked_values(placed, name)
        bright = item.dtype.kind in "fb"
        values = values * 255 if bright else values
    if values.min() < 0 or values.max() > 255:
        expected = "floats from 0 to 1, or whole numbers from 0 to 255"
        raise PictureError(
            f"{quoted(name)} is taken for frames of a clip, but its values are none; expected {expected}."
        )
    wanted, rate, more = _choose_frames(values.shape[1], entrance.rate or USUAL_PACE, entrance)
    return _clip_of(values[:, wanted], name, rate, entrance, (*notes, *more))


def _choose_frames(count: int, fps: float, entrance: Entrance) -> tuple[list[int], float, tuple[str, ...]]:
    """The numbers of the frames that a network is given, how many of them are a second, and notes of which they are."""
    step = fps / (entrance.rate or fps)
    frames = entrance.frames or max(1, int(count / step + _WHOLE))
    start, notes = (count - frames * step) / 2, []
    if start < 0:
        start, step = 0.0, count / frames
        notes.append(f"too short for {frames} frames at {entrance.rate or fps:g} a second: spread over all of it")
    wanted = [min(count - 1, int(start + number * step + _WHOLE)) for number in range(frames)]
    rate = fps / step
    pace = f" {rate:.3g} a second of {fps:.3g}" if entrance.rate and abs(rate - fps) > 0.01 else ""
    notes.insert(0, f"{frames} frames from {wanted[0] + 1} to {wanted[-1] + 1} of {count}{pace and ','}{pace}")
    return wanted, rate, tuple(notes)


def _frames_at(clip: Clip, wanted: list[int]) -> tuple[list[NDArray[np.uint8]], int]:
    """The pixels of some frames, in order, and how many frames were read."""
    found: list[NDArray[np.uint8]] = []
    seen = 0
    for number, frame in enumerate(clip):
        seen = number + 1
        found += [frame.picture.pixels] * wanted.count(number)
        if number >= wanted[-1]:
            break
    return found, seen


def _clip_of(values: NDArray[Any], name: str, rate: float, entrance: Entrance, notes: tuple[str, ...]) -> Volume:
    """Frames ``(C, T, H, W)``, 0 to 255, with as many channels as the network takes."""
    if entrance.channels == 1 and len(values) == len(LUMA):
        values = np.tensordot(np.array(LUMA), values, 1)[None]
    elif entrance.channels == len(LUMA) and len(values) == 1:
        values = np.repeat(values, len(LUMA), axis=0)
    elif entrance.channels not in (None, len(values)):
        raise PictureError(
            f"{quoted(name)} has frames of {len(values)} channels; the network takes {entrance.channels}."
        )
    held = np.ascontiguousarray(values, np.float32)
    return Volume(held, name, notes=notes, rate=rate, window=(0.0, 255.0))


def _is_animated(path: Path) -> bool:
    if path.suffix.lower() not in ANIMATED_SUFFIXES:
        return False
    try:
        with Image.open(path) as image:
            return int(getattr(image, "n_frames", 1)) > 1
    except Exception:  # noqa: BLE001 - a decoder fed with damaged data can raise anything; reading it says so
        return False


def _animated_clip(path: Path, first: Picture) -> Clip:
    times = [frame.seconds for frame in _animated_frames(path)]
    return Clip(path, min(FASTEST, len(times) / sum(times)), first.size, len(times), animated=True)


def _animated_frames(path: Path) -> Iterator[VideoFrame]:
    number = 0
    try:
        with Image.open(path) as image:
            check_size(image.size, quoted(path.name))
            for shown in ImageSequence.Iterator(image):
                picture = as_picture(shown.convert("RGBA"), _frame_name(path, number))
                milliseconds = float(shown.info.get("duration", 0))
                yield VideoFrame(picture, milliseconds / 1000 if milliseconds > 0 else USUAL_SECONDS)
                number += 1
    except PictureError:
        raise
    except Exception as error:  # a decoder fed with damaged data can raise anything
        raise PictureError(f"{quoted(path.name)} is damaged after frame {number}; expected all of it.") from error


def _video_frames(path: Path, seconds: float) -> Iterator[VideoFrame]:
    capture = _open_video(path)
    try:
        number = 0
        while True:
            read, pixels = capture.read()
            if not read:
                return
            upright = np.ascontiguousarray(pixels[..., ::-1], dtype=np.uint8)
            yield VideoFrame(Picture(upright, _frame_name(path, number)), seconds)
            number += 1
    finally:
        capture.release()


def _open_video(path: Path) -> cv2.VideoCapture:
    with quiet_opencv():
        capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    if not capture.isOpened():
        raise PictureError(f"{quoted(path.name)} cannot be read as a video; expected one that OpenCV can decode.")
    capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
    return capture


def _frame_name(path: Path, number: int) -> str:
    return f"{path.name}, frame {number + 1}"


def _size_text(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]}"

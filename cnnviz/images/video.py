"""Clips: the frames of a video, an animated GIF or WebP, one after another."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageSequence

from cnnviz.core.change import quiet_opencv
from cnnviz.core.picture import Picture
from cnnviz.errors import PictureError
from cnnviz.images.reading import as_picture, check_size, quoted, read_picture

__all__ = ["VIDEO_SUFFIXES", "Clip", "VideoFrame", "is_clip", "open_clip"]

VIDEO_SUFFIXES: Final = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".ogv")
"""File name endings taken for videos."""

ANIMATED_SUFFIXES: Final = (".gif", ".webp", ".png")
_EXPECTED: Final = "expected a video such as an .mp4, or an animated GIF, WebP or PNG"
USUAL_PACE: Final = 25.0
FASTEST: Final = 240.0
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

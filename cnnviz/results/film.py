"""Film: what is known of a clip whose frames have been explained, besides the file of their maps."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.picture import Picture
from cnnviz.core.target import Target, class_index
from cnnviz.drawing.animation import ANIMATION_SUFFIXES, FrameWriter
from cnnviz.drawing.colour import Scale
from cnnviz.drawing.files import ensure_writable
from cnnviz.drawing.sheet import Cell, Sheet
from cnnviz.errors import OutputError
from cnnviz.provenance import Provenance
from cnnviz.results.attribution import Attributions
from cnnviz.results.explanation import Explanation
from cnnviz.results.heatmap import Heatmap, Heatmaps, Look
from cnnviz.results.result import Grid, Result

__all__ = ["Film", "FilmRoll", "ensure_film"]


@dataclass(frozen=True, eq=False)
class Film(Result):
    """Maps of a clip's frames, written as an animation.

    Attributes:
        path: The file that was written.
        target: What is explained, the same on every frame.
        scores: ``(N,)`` float32: the target's score on every frame.
        probabilities: ``(N,)`` float32: its probability, NaN where the target is not one class.
        limits: The values of the colours' two ends, the same on every frame.
        fps: Frames a second.
        layer: The layer that was looked at, or None.
        checks: What the user should know.
        provenance: How it was made.
    """

    _ARRAY = "scores"

    path: Path
    target: Target
    scores: NDArray[np.float32] = field(repr=False)
    probabilities: NDArray[np.float32] = field(repr=False)
    limits: tuple[float, float]
    fps: float
    layer: str | None = None
    checks: tuple[str, ...] = ()
    provenance: Provenance = field(default_factory=Provenance, repr=False)

    def __len__(self) -> int:
        return len(self.scores)

    def describe(self) -> dict[str, Any]:
        """What there is to say without pictures, as plain values."""
        return {
            "target": str(self.target),
            "index": class_index(self.target),
            "frames": len(self),
            "fps": self.fps,
            "scores": [float(score) for score in self.scores],
            "probabilities": [None if np.isnan(each) else float(each) for each in self.probabilities],
            "limits": list(self.limits),
            "layer": self.layer,
            "checks": list(self.checks),
        }


PAPER: Final = 255
MOST_NAMED: Final = 6


class FilmRoll(AbstractContextManager["FilmRoll"]):
    """Maps of frames, in a temporary file: memory does not grow with a clip's length.

    Args:
        look: How they are going to be drawn.

    Attributes:
        scores: The target's score on every frame so far.
        probabilities: Its probability, or None.

    Raises:
        OutputError: There is no room for temporary files.
    """

    def __init__(self, look: Look) -> None:
        self.look = look
        self.scores: list[float] = []
        self.probabilities: list[float | None] = []
        with _temporary_file_errors():
            self._file = TemporaryFile()  # noqa: SIM115 - closed on leaving the context
        self._first: Explanation | None = None
        self._scale: Scale | None = None
        self._checks: tuple[str, ...] = ()
        self._blank: list[int] = []
        self.wanting = self.hint = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):  # where it could not be written, closing it writes once more
            self._file.close()

    @property
    def scale(self) -> Scale:
        """The colours' meaning that suits all maps so far: the widest of their own."""
        assert self._scale is not None
        return self._scale

    @property
    def first(self) -> Explanation:
        """What is known of the first map, besides its values."""
        assert self._first is not None
        return self._first

    def gather(self, result: Heatmaps | Attributions) -> None:
        """Take the maps of the next frames.

        Raises:
            OutputError: There is no room for them.
        """
        self._checks = tuple(dict.fromkeys((*self._checks, *result.checks)))
        for one in result:
            if self._first is None:
                self._first = one
                for _ in self._blank:
                    self._store(np.zeros_like(one.values))
            self._scale = _widen(self._scale, one.scale(self.look))
            self.scores.append(one.score)
            self.probabilities.append(one.probability)
            self._store(one.values)

    def skip(self) -> None:
        """Take a frame that has no map: it is drawn blank.

        Raises:
            OutputError: There is no room for it.
        """
        self._blank.append(len(self.scores) + 1)
        self.scores.append(0.0)
        self.probabilities.append(None)
        if self._first is not None:
            self._store(np.zeros_like(self._first.values))

    @property
    def started(self) -> bool:
        """Whether any frame had a map."""
        return self._first is not None

    def _note_blanks(self) -> tuple[str, ...]:
        if not self._blank:
            return ()
        named = ", ".join(map(str, self._blank[:MOST_NAMED]))
        more = f" and {len(self._blank) - MOST_NAMED} more" if len(self._blank) > MOST_NAMED else ""
        what = self.wanting
        if len(self._blank) == 1:
            return (f"{what} frame {named}: its map is blank",)
        return (f"{what} frames {named}{more}: their maps are blank",)

    def maps(self, pictures: Iterable[Picture]) -> Iterator[Explanation]:
        """The gathered maps again, each on its picture.

        Args:
            pictures: Those of the frames, in the same order, of the same size; what is more than the maps is left out.
        """
        self._file.seek(0)
        for number, picture in zip(range(len(self.scores)), pictures, strict=False):
            values = np.load(self._file, allow_pickle=False)
            yield self._restore(number, picture, values)

    def draw(self, shown: Explanation) -> NDArray[np.uint8]:
        """One map as a frame."""
        first, *others = shown.cells(self.look, self._scale)
        if not others:
            return first.pixels
        words = shown.caption().partition("\n")[0]
        captioned = (Cell(each.pixels, words if each.caption else "", each.scale) for each in others)
        return Grid(Sheet(((first, *captioned),))).pixels()

    def write(self, path: Path, frames: Iterable[tuple[Picture, float]], *, fps: float, record: Provenance) -> None:
        """Write all maps as a .gif, .webp or .mp4.

        Args:
            path: Where to.
            frames: The frames' pictures and how many seconds each is shown, read anew.
            fps: Of a video.
            record: How they were made.

        Raises:
            OutputError: The file cannot be written.
        """
        times: list[float] = []

        def pictures() -> Iterator[Picture]:
            for picture, seconds in frames:
                times.append(seconds)
                yield picture

        with FrameWriter(path, fps, record.to_json()) as writer:
            size: tuple[int, int] | None = None
            for number, shown in enumerate(self.maps(pictures())):
                drawn = self.draw(shown)
                size = size or (drawn.shape[0], drawn.shape[1])
                writer.add(_fit_frame(drawn, size), seconds=times[number])

    def film(self, path: Path, fps: float, checks: tuple[str, ...], record: Provenance) -> Film:
        """What is known of all maps besides their values.

        Args:
            path: The file that was written.
            fps: Frames a second.
            checks: What there is to say about the clip.
            record: How they were made.
        """
        shares = np.array([np.nan if each is None else each for each in self.probabilities], dtype=np.float32)
        return Film(
            path,
            self.first.target,
            np.array(self.scores, dtype=np.float32),
            shares,
            (self.scale.low, self.scale.high),
            fps,
            self.first.layer,
            tuple(dict.fromkeys((*self._note_blanks(), *self._checks, *checks))),
            record,
        )

    def _store(self, values: NDArray[np.float32]) -> None:
        held = io.BytesIO()  # numpy itself takes no notice when a disk has room for only a part of what it writes
        np.save(held, values, allow_pickle=False)
        with _temporary_file_errors():
            self._file.write(held.getbuffer())
            self._file.flush()

    def _restore(self, number: int, picture: Picture, values: NDArray[np.float32]) -> Explanation:
        shown = replace(
            self.first,
            values=values,
            picture=replace(picture, geometry=self.first.geometry),
            score=self.scores[number],
            probability=self.probabilities[number],
        )
        return replace(shown, spread=None) if isinstance(shown, Heatmap) else shown


@contextmanager
def _temporary_file_errors() -> Iterator[None]:
    """Inside, what the temporary file cannot take is a sentence."""
    try:
        yield
    except OSError as error:
        raise OutputError(
            "The maps of the frames cannot be kept in a temporary file until all are known: "
            f"{error.strerror or error}; name a folder with room for it in TMPDIR."
        ) from error


def ensure_film(path: Path, clip: Path) -> None:
    """Find out before the work starts whether a clip's maps can be written.

    Args:
        path: Where to.
        clip: The clip, which is not replaced.

    Raises:
        OutputError: If not.
        MissingExtraError: If it is a video and PyAV is not installed.
    """
    ensure_writable(path, force=True, suffixes=ANIMATION_SUFFIXES)
    if path.exists() and path.samefile(clip):
        raise OutputError(f"'{path}' is the clip itself, and would be replaced; choose another name.")


def _widen(one: Scale | None, other: Scale) -> Scale:
    """A scale that holds two; one of a map without anything to see says nothing about it."""
    if one is None or (one.blank and not other.blank):
        return other
    if other.blank:
        return one
    return replace(one, low=min(one.low, other.low), high=max(one.high, other.high), clipped=0.0)


def _fit_frame(frame: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """A frame cut, or filled up with white, where its words take other room than those of the first."""
    if frame.shape[:2] == size:
        return frame
    cut = frame[: size[0], : size[1]]
    return np.pad(cut, [(0, size[0] - cut.shape[0]), (0, size[1] - cut.shape[1]), (0, 0)], constant_values=PAPER)

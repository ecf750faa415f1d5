"""Cases: single pictures of an audit, drawn: mistakes with both maps, unsure hits, labels in doubt, pairs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from cnnviz.core.sample import Sample
from cnnviz.drawing.colour import Scale
from cnnviz.drawing.samples import pixels_of
from cnnviz.engine.batching import in_slices
from cnnviz.errors import CnnvizError
from cnnviz.methods.prepare import show_tensors

if TYPE_CHECKING:
    from cnnviz.auditing.frame import MapSource
    from cnnviz.auditing.outcomes import Outcomes
    from cnnviz.models.model import Model

__all__ = ["DrawnCase", "Cases", "draw_cases"]

LONGEST: Final = 400
"""Pixels of the longer side of a picture on the page."""


@dataclass(frozen=True, eq=False)
class DrawnCase:
    """One picture with the maps of its answer and of its true class.

    Attributes:
        row: Its row in the outcomes.
        photo: ``(h, w, 3)`` uint8: the picture.
        why: The map of the answered class over it.
        why_not: The map of the true class over it; of a right answer the same as ``why``.
        scale: What the colours of both mean.
    """

    row: int
    photo: NDArray[np.uint8] = field(repr=False)
    why: NDArray[np.uint8] = field(repr=False)
    why_not: NDArray[np.uint8] = field(repr=False)
    scale: Scale | None


@dataclass(frozen=True)
class Cases:
    """The drawn pictures of an audit.

    Attributes:
        mistakes: The most confident mistakes.
        hits: The least confident right answers.
        photos: Other pictures by their row: labels in doubt, pairs, answers of two networks.
        failures: Rows that could not be drawn, with the reason.
    """

    mistakes: tuple[DrawnCase, ...] = ()
    hits: tuple[DrawnCase, ...] = ()
    photos: Mapping[int, NDArray[np.uint8]] = field(default_factory=dict, repr=False)
    failures: tuple[tuple[int, str], ...] = ()


def draw_cases(
    request: MapSource,
    found: Outcomes,
    *,
    mistakes: NDArray[np.int64],
    hits: NDArray[np.int64],
    others: Iterable[int],
) -> Cases:
    """Draw some pictures.

    Args:
        request: How maps are asked for.
        found: The outcomes.
        mistakes: Rows with a map of the answered and of the true class.
        hits: Rows with a map of the answer.
        others: Rows without maps.
    """
    failures: list[tuple[int, str]] = []
    drawn: dict[int, DrawnCase] = {}
    photos: dict[int, NDArray[np.uint8]] = {}
    wanted = [*mistakes.tolist(), *hits.tolist()]
    plain = [row for row in dict.fromkeys(others) if row not in wanted]

    def ask(some: slice) -> None:
        row = [*wanted, *plain][some.start]
        try:
            if row in plain:
                photos[row] = _photo_of(request.model, request.data.item(int(found.images[row])))
            else:
                drawn[row] = _draw(request, found, row)
        except CnnvizError as error:
            failures.append((row, str(error)))

    in_slices(len(wanted) + len(plain), ask, size=1)
    photos |= {row: case.photo for row, case in drawn.items()}
    chosen = [tuple(drawn[row] for row in rows.tolist() if row in drawn) for rows in (mistakes, hits)]
    return Cases(chosen[0], chosen[1], photos, tuple(failures))


def _draw(request: MapSource, found: Outcomes, row: int) -> DrawnCase:
    item = request.data.item(int(found.images[row]))
    pair = [item, item] if isinstance(item, Sample) else torch.stack([item, item])
    maps = request.ask(pair, [int(found.predicted[row]), int(found.truth[row])])
    cells = [cell for line in maps.grid(style="overlay", shared=True).sheet.rows for cell in line if cell is not None]
    why, why_not = (_small(cell.pixels) for cell in cells[:2])
    return DrawnCase(row, _photo_of(request.model, item), why, why_not, cells[0].scale)


def _photo_of(model: Model, item: Sample | torch.Tensor) -> NDArray[np.uint8]:
    sample = item if isinstance(item, Sample) else show_tensors(model, item[None], range(1))[0]
    return _small(pixels_of(sample))


def _small(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Pixels of which the longer side is at most 400."""
    if max(pixels.shape[:2]) <= LONGEST:
        return np.ascontiguousarray(pixels)
    image = Image.fromarray(pixels)
    image.thumbnail((LONGEST, LONGEST), Image.Resampling.LANCZOS)
    return np.asarray(image).copy()

"""The figure of shortcuts: a row a cluster, from what it looks at to what its content does on another picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from cnnviz.auditing.shortcuts.listing import spell_effect
from cnnviz.drawing.colour import scale_of
from cnnviz.drawing.figure import Grid
from cnnviz.drawing.overlay import overlay, upsample
from cnnviz.drawing.raster import resize
from cnnviz.drawing.sheet import Cell, Sheet
from cnnviz.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cnnviz.auditing.shortcuts.findings import ClassClusters, Cluster, Shortcuts

__all__ = ["cluster_cells", "draw_clusters", "outline"]

HEADINGS: Final = ("typical picture", "mean map", "mean picture", "another class", "with this content")
MOST: Final = 12
SIDE: Final = 256
"""Pixels of the shorter side that outlined pictures have at least."""


def draw_clusters(found: Shortcuts, *, every: bool = False, most: int | None = None) -> Grid:
    """Rows of clusters, the flagged ones by how far they raise other pictures.

    Args:
        found: What was found.
        every: All clusters of all classes, flagged or not, in the classes' order.
        most: Most rows; default: 12.

    Raises:
        UsageError: If there is nothing to draw, or the pictures are not at hand.
    """
    if every:
        chosen = [
            (one, each) for one in found.classes for each in one.clusters if each.number or len(one.clusters) == 1
        ]
    else:
        chosen = [(one, one.flags[0]) for one in found.flagged]
    if not chosen:
        raise UsageError("No shortcut was flagged; every=True draws the clusters of all classes.")
    rows = tuple(tuple(cluster_cells(found, one, cluster)) for one, cluster in chosen[: most or MOST])
    headings = tuple(_name(one, cluster) for one, cluster in chosen[: most or MOST])
    left = len(chosen) - len(rows)
    notes = (
        "outlined: the place that the maps look at and whose content is alike; mean change of the class's probability "
        "[95% interval]",
        *([f"{left} more are not drawn"] if left else []),
    )
    title = f"Shortcuts of {found.model} \N{MIDDLE DOT} {found.data}"
    return Grid(Sheet(rows, headings, HEADINGS, title, notes, found.checks), found.provenance)


def _name(one: ClassClusters, cluster: Cluster) -> str:
    return f"{one.label}, {cluster.name} ({cluster.share:.0%})" if cluster.number else f"{one.label}, {cluster.name}"


def cluster_cells(found: Shortcuts, one: ClassClusters, cluster: Cluster) -> list[Cell | None]:
    """A cluster's typical picture, mean map and mean picture, and another picture without and with its content.

    Args:
        found: What was found.
        one: The class.
        cluster: One of its clusters.

    Raises:
        UsageError: If the pictures are not at hand.
    """
    pixels = _typical(found, cluster)
    wide = upsample(cluster.mean_map, cluster.place.shape)
    scale = scale_of(wide)
    map_ = overlay(np.full_like(pixels, 255), wide, scale, alpha=1.0)
    key = found.keys[cluster.typical[0]].rpartition("/")[2]
    cells: list[Cell | None] = [
        Cell(outline(pixels, cluster.place), key, note=f"place hidden: {spell_effect(cluster.hidden)}"),
        Cell(outline(map_, cluster.place), f"{len(cluster.images)} pictures", note=f"accuracy {cluster.accuracy:.0%}"),
    ]
    example = cluster.example
    if example is None:
        return [*cells, None, None, None]
    return [
        *cells,
        Cell(outline(example.mean, cluster.place)),
        Cell(example.before, example.answered_before, note=f"{one.label}: {example.probability_before:.2f}"),
        Cell(
            example.after,
            example.answered_after,
            note=f"{one.label}: {example.probability_after:.2f}\non others: {spell_effect(cluster.given)}",
        ),
    ]


def _typical(found: Shortcuts, cluster: Cluster) -> NDArray[np.uint8]:
    """The most typical picture as the network sees it, ``(H, W, 3)``."""
    if found.source is None:
        raise UsageError("The pictures are not at hand; look for shortcuts once more to draw them.")
    inputs = found.source.inputs(np.array(cluster.typical[:1]))
    return np.asarray(found.source.model.preprocess.to_pixels(inputs)[0])


def outline(pixels: NDArray[np.uint8], place: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Pixels with a white line, and a black one outside it, around a place; small pictures are enlarged for it.

    Args:
        pixels: ``(H, W, 3)``.
        place: ``(H, W)``.
    """
    times = max(1, -(-SIDE // min(place.shape)))
    drawn = resize(pixels, (place.shape[0] * times, place.shape[1] * times)).copy()
    inside = np.kron(place, np.ones((times, times), np.bool_))
    thick = max(1, round(min(inside.shape) / 128))
    black, white = _grown(inside, 2 * thick), _grown(inside, thick)
    drawn[black & ~inside] = 0
    drawn[white & ~inside] = 255
    return drawn


def _grown(inside: NDArray[np.bool_], by: int) -> NDArray[np.bool_]:
    """A place and all pixels at most so many steps away from it, across, down and diagonally."""
    grown = inside.copy()
    for _ in range(by):
        padded = np.pad(grown, 1)
        across = padded[:, :-2] | padded[:, 1:-1] | padded[:, 2:]
        grown = across[:-2] | across[1:-1] | across[2:]
    return grown

"""Concepts: what a layer's activations over some pictures fall into, each with its place and its label."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from cnnviz.core.field import Field
from cnnviz.core.picture import LUMA, Geometry, Picture
from cnnviz.core.sample import Sample, Signal
from cnnviz.core.target import ClassTarget
from cnnviz.drawing.colour import Scale, cmap_name
from cnnviz.drawing.overlay import place, upsample
from cnnviz.drawing.samples import draw_over, pixels_of
from cnnviz.drawing.sheet import Cell, Sheet
from cnnviz.provenance import Provenance, cautions, remarks
from cnnviz.results.result import DrawnResult, Grid

__all__ = ["Concepts", "choose_colours", "hatch", "paint_shares"]

STRENGTH, FADED = 0.6, 0.25
HALF, STRIPES, MIDDLE = 0.5, 0.55, 110
"""From which share on a place belongs to a concept, how strong stripes are, and the luma from which they are black."""
LIGHTNESSES = ("#d55e00", "#1b3fa0", "#f7e733", "#2fb89a", "#b5207d", "#8ccdf0")
SWATCH: Final = 12, 96
"""Height and width of a swatch in the legend."""
GOLDEN, BRIGHTNESS = 0.618034, ((0.85, 0.95), (0.55, 0.75), (0.9, 0.6))
"""From hue to hue of colours beyond a palette's, and their saturations and values in turn."""
NAMED = "Each concept's name is the class that the network gives an activation of that concept alone."


@dataclass(frozen=True, eq=False)
class Concepts(DrawnResult):
    """Concepts of a batch of pictures.

    Saved as ``.npz`` they are ``values``, ``vectors``, ``labels``, ``images`` (names) and ``provenance`` (JSON text).

    Attributes:
        values: ``(N, k, h, w)`` (or ``(N, k, t)``, ``(N, k, d, h, w)``) float32, at least 0: how much of each concept
            is at each place.
        vectors: ``(k, C)`` float32: each concept as an activation of the layer.
        classes: For each concept the class that the network gives it, with its probability; none where the network
            gives no logits of classes.
        pictures: The pictures, with their geometry.
        layer: The layer.
        model: The network's name.
        checks: What the user should know.
        provenance: How it was made.
        field: What the layer's units see of the network's input; None for evenly spread ones.
    """

    values: NDArray[np.float32] = field(repr=False)
    vectors: NDArray[np.float32] = field(repr=False)
    classes: tuple[tuple[ClassTarget, float], ...]
    pictures: tuple[Sample, ...] = field(repr=False)
    layer: str
    model: str
    checks: tuple[str, ...] = ()
    provenance: Provenance = field(default_factory=Provenance, repr=False)
    field: Field | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.pictures)

    def upsampled(self) -> NDArray[np.float32]:
        """The maps on the network's input grid, ``(N, k, H, W)`` float32, NaN where no unit belongs."""
        sizes = [self._geometry(row).size for row in range(len(self))]
        return np.stack([upsample(maps, size, self.field) for maps, size in zip(self.values, sizes, strict=True)])

    def on_original(self, row: int) -> NDArray[np.float32]:
        """One picture's maps on its own pixels, ``(k, H, W)`` float32.

        NaN where the network did not look, or no unit belongs.
        """
        geometry = self._geometry(row)
        return np.stack([place(upsample(each, geometry.size, self.field), geometry) for each in self.values[row]])

    def grid(self) -> Grid:
        """A row a picture (a column a signal or volume): as it is, all concepts in their colours, and each alone."""
        rows = tuple(self._draw_row(row) for row in range(len(self)))
        names = [f"{number + 1}: {label} {share:.0%}" for number, (label, share) in enumerate(self.classes)]
        names = names or [f"{number + 1}" for number in range(len(self.vectors))]
        title = self._title(self.model, self.layer)
        notes = (NAMED,) if self.classes else ()
        pictured = isinstance(self.pictures[0], Picture)
        headings = ("photograph", "all concepts", *names) if pictured else ("input", *names)
        said, details = (*notes, *cautions(self.checks)), remarks(self.checks)
        if not pictured:
            return Grid(Sheet(tuple(zip(*rows, strict=True)), headings, (), title, said, details), self.provenance)
        legend: tuple[Cell | None, ...] = (None, None, *self._draw_legend())
        return Grid(
            Sheet((*rows, legend), column_headings=headings, title=title, notes=said, details=details), self.provenance
        )

    def describe(self) -> dict[str, Any]:
        """What there is to say without a picture, as plain values."""
        found = [{"label": target.label, "index": target.index, "probability": share} for target, share in self.classes]
        return {"concepts": found, "layer": self.layer, "checks": list(self.checks)}

    def _arrays(self) -> dict[str, NDArray[Any]]:
        labels = np.array([str(target) for target, _ in self.classes])
        names = np.array([picture.name for picture in self.pictures])
        return {"values": self.values, "vectors": self.vectors, "labels": labels, "images": names}

    def _draw_legend(self) -> tuple[Cell, ...]:
        """Each concept's colour and stripes."""
        colours, whole = choose_colours(len(self.vectors)), np.ones((1, *SWATCH), dtype=np.bool_)
        plain = [np.broadcast_to(np.rint(colour).astype(np.uint8), (*SWATCH, 3)) for colour in colours]
        drawn = [hatch(flat, whole, colours[[k]], k) for k, flat in enumerate(plain)]
        return tuple(Cell(each, f"concept {k + 1}") for k, each in enumerate(drawn))

    def _geometry(self, row: int) -> Geometry:
        picture = self.pictures[row]
        return picture.cut

    def _draw_row(self, row: int) -> tuple[Cell, ...]:
        picture, colours = self.pictures[row], choose_colours(len(self.vectors))
        most = np.moveaxis(self.values, 1, 0).reshape(len(colours), -1).max(axis=1)
        most = most.reshape(-1, *[1] * len(picture.size))
        if not isinstance(picture, Picture):
            shown = self.on_original(row) / np.where(most > 0, most, 1)
            scales = [concept_scale(colour, dark=not isinstance(picture, Signal)) for colour in colours]
            alone = (draw_over(picture, one, scale) for one, scale in zip(shown, scales, strict=True))
            first = Cell(pixels_of(picture), picture.name, paper=True)
            return (first, *(Cell(each, paper=True) for each in alone))
        shares = np.nan_to_num(self.on_original(row)) / np.where(most > 0, most, 1)
        shares = 1 - (1 - shares.clip(0, 1)) ** 2
        first = np.eye(len(colours), dtype=np.float32)[shares.argmax(axis=0)].transpose(2, 0, 1)
        together = paint_shares(pixels_of(picture), shares * first, colours)
        drawn = [hatch(together, shares * first >= HALF, colours)]
        for k in range(len(colours)):
            tinted = paint_shares(pixels_of(picture), shares[[k]], colours[[k]])
            drawn.append(hatch(tinted, shares[[k]] >= HALF, colours[[k]], k))
        return (Cell(pixels_of(picture), picture.name), *(Cell(each) for each in drawn))


def concept_scale(colour: NDArray[np.float32], *, dark: bool) -> Scale:
    """From nothing to a concept's largest value in its colour ``(3,)``, 0 to 255, on a dark or a white ground."""
    from matplotlib.colors import LinearSegmentedColormap

    ground = (0.0, 0.0, 0.0) if dark else (1.0, 1.0, 1.0)
    cmap = LinearSegmentedColormap.from_list("concept", [ground, tuple(float(part) / 255 for part in colour)])
    return Scale(0.0, 1.0, cmap=cmap_name(cmap) or "")


def choose_colours(count: int) -> NDArray[np.float32]:
    """As many colours ``(k, 3)``, 0 to 255, as far apart as a palette has them; of more than it has no two the same.

    Up to six also differ in lightness, so that they are told apart in greyscale.
    """
    from matplotlib import colormaps
    from matplotlib.colors import hsv_to_rgb, to_rgb

    palette = colormaps["tab10" if count <= 10 else "tab20"]
    known: list[Any] = [*map(to_rgb, LIGHTNESSES)] if count <= len(LIGHTNESSES) else [*map(palette, range(palette.N))]
    colours: list[Any] = [known[k][:3] for k in range(min(count, len(known)))]
    colours += [hsv_to_rgb((k * GOLDEN % 1, *BRIGHTNESS[k % len(BRIGHTNESS)])) for k in range(palette.N, count)]
    return np.array(colours, dtype=np.float32).reshape(count, 3) * 255


def paint_shares(pixels: NDArray[np.uint8], shares: NDArray[Any], colours: NDArray[np.float32]) -> NDArray[np.uint8]:
    """A photograph, nearly grey, with each concept's colour as strong as its share ``(k, H, W)``."""
    grey = pixels.mean(axis=2, keepdims=True).astype(np.float32)
    ground = FADED * pixels + (1 - FADED) * grey
    opacity = STRENGTH * shares.clip(0, 1)[..., None]
    painted = ground * (1 - opacity.sum(axis=0).clip(0, 1)) + (opacity * colours[:, None, None]).sum(axis=0)
    drawn: NDArray[np.uint8] = np.rint(painted.clip(0, 255)).astype(np.uint8)
    return drawn


def hatch(
    pixels: NDArray[np.uint8], regions: NDArray[np.bool_], colours: NDArray[np.float32], first: int = 0
) -> NDArray[np.uint8]:
    """Regions ``(k, H, W)`` told apart without colour: each with stripes of its own direction and an outline.

    Args:
        pixels: ``(H, W, 3)`` uint8.
        regions: Where each concept is.
        colours: ``(k, 3)``, 0 to 255: those of the concepts, which their outlines have.
        first: The number of the first concept, counted from 0.
    """
    drawn = pixels.copy()
    longer = max(pixels.shape[:2])
    width, period = max(1, round(longer / 180)), max(6, round(longer / 18))
    row, column = np.indices(pixels.shape[:2])
    along = (row + column, row - column, row, column, np.minimum(row % period, column % period), row + 2 * column)
    for number, (region, colour) in enumerate(zip(regions, colours, strict=True), first):
        stripe = region & (along[number % len(along)] % period < max(1, period // 7))
        ink = 0.0 if float(colour @ np.array(LUMA)) > MIDDLE else 255.0
        drawn[stripe] = np.rint((1 - STRIPES) * drawn[stripe] + STRIPES * ink)
        contours, _ = cv2.findContours(region.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        for line, paint in ((3 * width, (255, 255, 255)), (2 * width, (0, 0, 0)), (width, colour.tolist())):
            cv2.drawContours(drawn, contours, -1, paint, line)
    return drawn

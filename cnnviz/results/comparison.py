"""Comparison: the maps of several methods, layers or networks on the same images."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cnnviz.drawing.files import ARRAY_SUFFIXES, ensure_writable, write_arrays
from cnnviz.provenance import Provenance
from cnnviz.results.grid import USUAL_WIDTH, Grid
from cnnviz.results.heatmaps import Heatmaps

__all__ = ["Comparison", "Panel"]


@dataclass(frozen=True, eq=False)
class Panel:
    """The maps of one network at one layer.

    Attributes:
        network: The network's name.
        layer: The layer that was asked for, or None.
        maps: The result of every method, by its name.
    """

    network: str
    layer: str | None
    maps: Mapping[str, Heatmaps]


@dataclass(frozen=True, eq=False)
class Comparison(Mapping[str, Heatmaps]):
    """Maps by the name of their method, or ``"network, layer: method"`` where these differ; draws itself as a grid.

    Attributes:
        maps: The result of every method.
        coincidences: Which methods gave the same maps.
        pixelwise: Methods with a value for each pixel, too fine for an overlay: drawn alone, to the 99th percentile.
        panels: The same maps by network and layer; left out, there is one network and no layer was asked for.
        asked: What was asked besides the pictures, as plain values from which it can be asked again.
    """

    maps: Mapping[str, Heatmaps]
    coincidences: tuple[str, ...] = field(default=())
    pixelwise: frozenset[str] = frozenset()
    panels: tuple[Panel, ...] = ()
    asked: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if not self.panels:
            first = next(iter(self.maps.values()))[0]
            object.__setattr__(self, "panels", (Panel(first.model, None, self.maps),))

    @classmethod
    def of(
        cls,
        panels: tuple[Panel, ...],
        coincidences: tuple[str, ...],
        pixelwise: frozenset[str],
        asked: Mapping[str, Any],
    ) -> Comparison:
        """The comparison of some panels."""
        networks = len({panel.network for panel in panels})
        maps = {
            _key(panel, heading, name, networks): found
            for panel, heading in zip(panels, _headings(panels), strict=True)
            for name, found in panel.maps.items()
        }
        return cls(maps, coincidences, pixelwise, panels, asked)

    @property
    def headings(self) -> tuple[str, ...]:
        """What is different about each panel: its network, its layer, or both; empty for a single one."""
        return _headings(self.panels)

    @property
    def provenance(self) -> Provenance:
        """How it was made: what the methods have in common, and each method's settings."""
        first = next(iter(self.maps.values())).provenance
        layers = sorted({maps.provenance.layer for maps in self.maps.values() if maps.provenance.layer})
        networks = {panel.network: next(iter(panel.maps.values())).provenance.model for panel in self.panels}
        model = first.model if len(networks) == 1 else {"networks": list(networks.values())}
        return replace(
            first,
            method="compare",
            asked=self.asked,
            settings={name: dict(maps.provenance.settings) for name, maps in self.maps.items()},
            model=model,
            layer=", ".join(layers) or None,
            checks=self.checks,
        )

    def __getitem__(self, name: str) -> Heatmaps:
        return self.maps[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.maps)

    def __len__(self) -> int:
        return len(self.maps)

    @property
    def checks(self) -> tuple[str, ...]:
        """What the user should know: coincidences, then what every method said, named where not all said it."""
        said: dict[str, list[tuple[int, str]]] = {}
        for number, panel in enumerate(self.panels):
            for name, maps in panel.maps.items():
                for check in maps.checks:
                    said.setdefault(check, []).append((number, name))
        return (*self.coincidences, *(f"{self._who(those)}{check}" for check, those in said.items()))

    def _who(self, those: list[tuple[int, str]]) -> str:
        """Which maps said something, in as few words as say it; nothing where all did."""
        everywhere: dict[str, list[int]] = {}
        for number, panel in enumerate(self.panels):
            for name in panel.maps:
                everywhere.setdefault(name, []).append(number)
        where: dict[str, list[int]] = {}
        for number, name in those:
            where.setdefault(name, []).append(number)
        if where == everywhere:
            return ""
        groups: dict[tuple[int, ...], list[str]] = {}
        for name, numbers in where.items():
            groups.setdefault(() if numbers == everywhere[name] else tuple(numbers), []).append(name)
        spoken = []
        for places, names in groups.items():
            at = f" at {' and '.join(self.headings[place] for place in places)}" if places else ""
            spoken.append(f"{', '.join(names)}{at}")
        return f"{'; '.join(spoken)}: "

    def grid(self, *, shared: bool = False, down: bool = False) -> Grid:
        """A row an image, network and layer: the photograph with what is explained, then each method's map.

        A single method of several networks or layers has these as columns, and each image is one row.

        Args:
            shared: One scale for all images, for each method, network and layer; its colour bar stands under the last.
            down: Methods one below the other and images side by side.
        """
        from cnnviz.results.arranging import arranged

        return Grid(arranged(self, shared=shared, down=down), self.provenance.drawn(shared=shared, down=down))

    def save(
        self,
        path: str | os.PathLike[str],
        *,
        shared: bool = False,
        down: bool = False,
        cell: int | None = None,
        width: float | None = None,
    ) -> Path:
        """Write the grid as .png, .jpg, .webp, .svg or .pdf, or every method's raw maps under its name as .npz.

        Args:
            path: Where to; an existing file is replaced.
            shared: One scale for all images, for each method, network and layer; its colour bar stands under the last.
            down: Methods one below the other and images side by side.
            cell: Longer side of a cell in pixels.
            width: Width in inches, such as 3.25 for one column of a paper and 6.75 for two; pictures get 300 pixels an
                inch then.

        Raises:
            OutputError: If the suffix is unknown or the file cannot be written.
        """
        where = Path(path)
        if where.suffix.lower() not in ARRAY_SUFFIXES:
            return self.grid(shared=shared, down=down).save(where, cell=cell, width=width)
        arrays: dict[str, NDArray[Any]] = {name: maps.values for name, maps in self.maps.items()}
        firsts = next(iter(self.maps.values()))
        arrays |= {"images": np.array([one.picture.name for one in firsts])}
        arrays |= {"targets": np.array([[str(each) for each in maps.targets] for maps in self.maps.values()])}
        ensure_writable(where, force=True)
        write_arrays(where, arrays, self.provenance.drawn(format="npz").to_json())
        return where

    def plot(
        self, ax: Axes | None = None, *, shared: bool = False, down: bool = False, width: float = USUAL_WIDTH
    ) -> Figure:
        """A matplotlib figure of the grid."""
        return self.grid(shared=shared, down=down).plot(ax, width=width)

    def _repr_png_(self) -> bytes:
        return self.grid()._repr_png_()


def _headings(panels: tuple[Panel, ...]) -> tuple[str, ...]:
    networks, layers = ({getattr(one, name) for one in panels} for name in ("network", "layer"))
    return tuple(
        ", ".join(filter(None, (one.network * (len(networks) > 1), (one.layer or "") * (len(layers) > 1))))
        for one in panels
    )


def _key(panel: Panel, heading: str, name: str, networks: int) -> str:
    """The name of a method's maps among all; those of a method without a layer are not called after one."""
    if "layer" not in panel.maps[name].provenance.settings:
        heading = panel.network if networks > 1 else ""
    return f"{heading}: {name}" if heading else name

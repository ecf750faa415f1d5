"""Comparison: the maps of several methods, layers or networks on the same images; and a grid of one's own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from cnnviz.catalogue import proper_name
from cnnviz.core.sample import Sample
from cnnviz.core.target import NoTarget
from cnnviz.drawing.colour import Scale
from cnnviz.drawing.samples import is_wide, pixels_of
from cnnviz.drawing.sheet import Cell, Sheet
from cnnviz.drawing.volumes import THROUGH, Slicing
from cnnviz.errors import UsageError
from cnnviz.provenance import Caution, Provenance, cautions, remarks
from cnnviz.results.attribution import Attribution
from cnnviz.results.heatmap import Heatmap, Heatmaps, Look
from cnnviz.results.result import DrawnResult, Grid

__all__ = ["CellLike", "Comparison", "Panel", "arranged", "grid"]


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
class Comparison(Mapping[str, Heatmaps], DrawnResult):
    """Maps by the name of their method, or ``"network, layer: method"`` where these differ; draws itself as a grid.

    Saved as ``.npz`` they are every method's raw maps under its name, ``images`` (names), ``targets`` and
    ``provenance`` (JSON text).

    Attributes:
        maps: The result of every method.
        coincidences: Which methods gave the same maps.
        pixelwise: Methods with a value for each pixel, too fine for an overlay: drawn alone, to the 99th percentile.
        panels: The same maps by network and layer; default: there is one network and no layer was asked for.
        asked: What was asked besides the pictures, as plain values from which it can be asked again.
        order: Numbers of the images in the order in which they stand here, where they were sorted; else empty.
    """

    maps: Mapping[str, Heatmaps]
    coincidences: tuple[str, ...] = field(default=())
    pixelwise: frozenset[str] = frozenset()
    panels: tuple[Panel, ...] = ()
    asked: Mapping[str, Any] = field(default_factory=dict, repr=False)
    order: tuple[int, ...] = ()

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
            _name_maps(panel, heading, name, networks): found
            for panel, heading in zip(panels, _name_panels(panels), strict=True)
            for name, found in panel.maps.items()
        }
        return cls(maps, coincidences, pixelwise, panels, asked)

    @property
    def headings(self) -> tuple[str, ...]:
        """What is different about each panel: its network, its layer, or both; empty for a single one."""
        return _name_panels(self.panels)

    @property
    def provenance(self) -> Provenance:
        """How it was made: what the methods have in common, and each method's settings."""
        first = next(iter(self.maps.values())).provenance
        layers = sorted({maps.provenance.layer for maps in self.maps.values() if maps.provenance.layer})
        networks = {panel.network: next(iter(panel.maps.values())).provenance.model for panel in self.panels}
        likened = [maps.provenance.asked for maps in self.maps.values() if "references" in maps.provenance.asked]
        likeness = {key: likened[0][key] for key in ("target", "references")} if likened else {}
        model = first.model if len(networks) == 1 else {"networks": list(networks.values())}
        return replace(
            first,
            method="compare",
            asked={**self.asked, **likeness},
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
        named = (Caution.like(check, f"{self._name_sources(those)}{check}") for check, those in said.items())
        return (*self.coincidences, *named)

    def _name_sources(self, those: list[tuple[int, str]]) -> str:
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
        groups_named = []
        for places, names in groups.items():
            at = f" at {' and '.join(self.headings[place] for place in places)}" if places else ""
            groups_named.append(f"{', '.join(map(proper_name, names))}{at}")
        return f"{'; '.join(groups_named)}: "

    def grid(self, *, shared: bool = False, down: bool = False) -> Grid:
        """A row an image, network and layer: the photograph with what is explained, then each method's map.

        A single method of several networks or layers has these as columns, and each image is one row. Signals and
        volumes, which are wide, have rows and columns exchanged.

        Args:
            shared: One scale for all images, for each method, network and layer; its colour bar stands under the last.
            down: Methods one below the other and images side by side; of signals and volumes the other way round.
        """
        return Grid(arranged(self, shared=shared, down=down), self.provenance.drawn(shared=shared, down=down))

    def describe(self) -> dict[str, Any]:
        """What there is to say without pictures, as plain values."""
        return {"methods": {name: maps.describe() for name, maps in self.items()}, "checks": list(self.checks)}

    def _arrays(self) -> dict[str, NDArray[Any]]:
        arrays: dict[str, NDArray[Any]] = {name: maps.values for name, maps in self.items()}
        first = next(iter(self.maps.values()))
        targets = np.array([[str(each) for each in maps.targets] for maps in self.maps.values()])
        return {**arrays, "images": np.array([one.picture.name for one in first]), "targets": targets}


def _name_panels(panels: tuple[Panel, ...]) -> tuple[str, ...]:
    networks, layers = ({getattr(one, name) for one in panels} for name in ("network", "layer"))
    return tuple(
        ", ".join(filter(None, (one.network * (len(networks) > 1), (one.layer or "") * (len(layers) > 1))))
        for one in panels
    )


def _name_maps(panel: Panel, heading: str, name: str, networks: int) -> str:
    """The name of a method's maps among all; those of a method without a layer are not called after one."""
    if "layer" not in panel.maps[name].provenance.settings:
        heading = panel.network if networks > 1 else ""
    return f"{heading}: {name}" if heading else name


PLAIN, PIXELS = Look(), Look(normalise="percentile")
Row = tuple[Cell | None, ...]


def arranged(comparison: Comparison, *, shared: bool, down: bool) -> Sheet:
    """The sheet of a comparison.

    Args:
        comparison: The maps.
        shared: One scale for all images, for each method, network and layer; its colour bar stands under the last.
        down: Exchange rows and columns.
    """
    drawing = _ComparisonSheet(comparison, shared)
    methods = tuple(comparison.panels[0].maps)
    across = len(methods) == 1 and len(comparison.panels) > 1
    rows, headings = drawing.panels_across(methods[0]) if across else drawing.methods_across(methods)
    named = tuple(map(proper_name, methods))
    columns = ("", *(comparison.headings if across else named))
    parts = (drawing.network, named[0] if across else "", drawing.layer or "")
    title = " · ".join(part for part in parts if part)
    said = cautions(comparison.checks), remarks(comparison.checks)
    if down != is_wide(_first_maps(comparison.panels[0])[0].picture):
        return Sheet(tuple(zip(*rows, strict=True)), columns, headings, title, *said)
    return Sheet(tuple(rows), headings, columns, title, *said, lead=1)


@dataclass(frozen=True)
class _ComparisonSheet:
    comparison: Comparison
    shared: bool

    @property
    def network(self) -> str:
        """The network's name, where there is only one."""
        names = {panel.network for panel in self.comparison.panels}
        return names.pop() if len(names) == 1 else ""

    @property
    def layer(self) -> str | None:
        """The layer, where all maps that have one have the same."""
        layers = {maps.layer for maps in self.comparison.values() if maps.layer}
        return layers.pop() if len(layers) == 1 else None

    def methods_across(self, methods: Sequence[str]) -> tuple[list[Row], tuple[str, ...]]:
        """A row an image and panel; the photograph stands where its network's answer changes."""
        panels, headings = self.comparison.panels, self.comparison.headings
        count = len(_first_maps(panels[0]))
        rows: list[Row] = []
        for number in range(count):
            for at, panel in enumerate(panels):
                fresh = at == 0 or panel.network != panels[at - 1].network
                cells = [self._photograph(panel, number) if fresh else None]
                cells += [self._cell(panel, name, number) for name in methods]
                rows.append(tuple(cells))
        return rows, headings * count if any(headings) else ()

    def panels_across(self, method: str) -> tuple[list[Row], tuple[str, ...]]:
        """A row an image, a column a network or layer."""
        panels, rows = self.comparison.panels, []
        for number in range(len(_first_maps(panels[0]))):
            cells = [self._photograph(panels[0], number, named=not self.network)]
            for panel in panels:
                cell = self._cell(panel, method, number)
                answer = "" if self.network else _name_explained(panel, number)
                cells.append(cell and replace(cell, caption="\n".join(filter(None, (answer, cell.caption)))))
            rows.append(tuple(cells))
        return rows, ()

    def _photograph(self, panel: Panel, number: int, *, named: bool = False) -> Cell | None:
        """The photograph with its name and, unless only that is asked for, what is explained in it."""
        explained = [maps[number] for maps in panel.maps.values() if maps[number].box is not None]
        one = (explained or [_first_maps(panel)[number]])[0]
        picture = one.picture
        slicing = THROUGH if one.blank or not is_wide(picture) else Slicing(focus=one.peak()[::-1])
        return Cell(
            one.boxed(pixels_of(picture, slicing)),
            picture.name if named else f"{picture.name}\n{_name_explained(panel, number)}",
            paper=is_wide(picture),
        )

    def _cell(self, panel: Panel, name: str, number: int) -> Cell | None:
        maps = panel.maps.get(name)
        if maps is None:
            return None
        one, pixelwise = maps[number], name in self.comparison.pixelwise
        look = PIXELS if pixelwise else PLAIN
        scale = _common_scale(maps, look) if self.shared else one.scale(look)
        drawn = one.in_place(scale) if pixelwise else one.overlay(look, scale)
        words = [self._layer_words(panel, one), one.blank_note() if one.blank else one.strongest()]
        barred = not self.shared or number == len(maps) - 1
        return Cell(drawn, "\n".join(filter(None, words)), scale if barred else None, paper=is_wide(one.picture))

    def _layer_words(self, panel: Panel, one: Heatmap) -> str:
        """A map's layer, where neither the title nor a heading says it."""
        if panel.layer is not None and one.layer is None:
            return "independent of the layer"
        return one.layer or "" if self.layer is None and one.layer != panel.layer else ""


def _common_scale(maps: Heatmaps, look: Look) -> Scale:
    values = np.concatenate([one.upsampled().ravel() for one in maps])
    signed = not maps[0].rectified
    return look.suited(maps[0].picture, signed=signed).scale_of(values, signed=signed, measures=maps[0].measures)


def _first_maps(panel: Panel) -> Heatmaps:
    return next(iter(panel.maps.values()))


def _name_explained(panel: Panel, number: int) -> str:
    """What the methods that explain something explain in an image."""
    captions = [maps[number] for maps in panel.maps.values() if not isinstance(maps[number].target, NoTarget)]
    one = (captions or [_first_maps(panel)[number]])[0]
    return one.caption().partition("\n")[0]


Drawable: TypeAlias = Heatmap | Attribution | Sample | NDArray[np.uint8] | Cell
CellLike: TypeAlias = Drawable | tuple[Drawable, str] | None


def grid(
    rows: Sequence[Sequence[CellLike]],
    *,
    row_headings: Sequence[str] = (),
    column_headings: Sequence[str] = (),
    title: str = "",
    notes: Sequence[str] = (),
    provenance: Provenance | None = None,
) -> Grid:
    """Compose a grid.

    Args:
        rows: Rows of cells: a :class:`Heatmap` (drawn over its photograph, with caption and colour bar), an
            :class:`Attribution` (where the network saw the photograph), a :class:`Picture`, an array ``(H, W, 3)`` of
            uint8, None for an empty place, or any of these in a pair with a caption of your own.
        row_headings: One a row, or none.
        column_headings: One a column, or none.
        title: Drawn above everything.
        notes: Small lines under the grid.
        provenance: How it was made; default: that of its maps.

    Raises:
        UsageError: If a cell is nothing of this kind.
        ParameterError: If there is no cell, an array has another shape or type, or headings do not fit.
    """
    maps = [cell for row in rows for each in row if isinstance(cell := _split_caption(each)[0], (Heatmap, Attribution))]
    made = _compose_record(([] if provenance is None else [provenance]) + [one.provenance for one in maps])
    sheet = Sheet(
        tuple(tuple(None if each is None else _draw_cell(each) for each in row) for row in rows),
        row_headings=tuple(row_headings),
        column_headings=tuple(column_headings),
        title=title,
        notes=tuple(notes),
    )
    return Grid(sheet, made)


def _compose_record(made: Sequence[Provenance]) -> Provenance:
    """The record of a grid: what its maps have in common, and as its setting ``parts`` how each kind was made."""
    if not made:
        return Provenance(method="grid")
    first = made[0]
    parts: dict[str, dict[str, Any]] = {}
    for one in made:
        part = {"method": one.method, "model": one.model.get("name"), "layer": one.layer}
        part |= {"asked": dict(one.asked), "settings": dict(one.settings)}
        parts.setdefault(repr(part), part)
    images = {image["sha256"]: image for one in made for image in one.images}
    targets = dict.fromkeys(target for one in made for target in one.targets)
    checks = dict.fromkeys(check for one in made for check in one.checks)
    return replace(
        first,
        method="grid",
        settings={"parts": list(parts.values())},
        asked={},
        images=tuple(images.values()),
        targets=tuple(targets),
        checks=tuple(checks),
        batch=(),
        rows=(),
        look={},
    )


def _split_caption(each: CellLike) -> tuple[Drawable | None, str | None]:
    return (each[0], each[1]) if isinstance(each, tuple) else (each, None)


def _draw_cell(each: CellLike) -> Cell:
    shown, caption = _split_caption(each)
    if isinstance(shown, Heatmap):
        words = shown.caption() if caption is None else caption
        return Cell(shown.overlay(), words, shown.scale(), paper=is_wide(shown.picture))
    if isinstance(shown, Attribution):
        drawn = shown.cells()[-1]
        return drawn if caption is None else replace(drawn, caption=caption)
    if isinstance(shown, Sample):
        return Cell(pixels_of(shown), shown.name if caption is None else caption, paper=is_wide(shown))
    if isinstance(shown, np.ndarray):
        return Cell(shown, caption or "")
    if isinstance(shown, Cell):
        return shown if caption is None else Cell(shown.pixels, caption, shown.scale)
    raise UsageError(f"A cell of a grid is a Heatmap, a Picture or an array, not of type {type(shown).__name__}.")

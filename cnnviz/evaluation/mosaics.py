"""The grid pointing game: mosaics of confidently classified pictures, in which it is known where each class is."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cnnviz.core.dimensions import PICTURE, is_dense, size_of, spell_size
from cnnviz.core.target import ClassTarget, named_class
from cnnviz.engine.batching import part_of_progress
from cnnviz.engine.scores.score import class_probabilities
from cnnviz.errors import CnnvizError, ExplanationError, ParameterError, UsageError
from cnnviz.evaluation.explain import BATCH, ask_maps, next_seed
from cnnviz.methods.ask import ask
from cnnviz.methods.prepare import prepare

if TYPE_CHECKING:
    from cnnviz.core.sample import Sample
    from cnnviz.core.target import Target, TargetLike
    from cnnviz.evaluation.metric import Explain
    from cnnviz.models.model import Model

__all__ = ["GridPointing", "Mosaic", "Tile", "build_mosaics", "find_tiles", "grid_pointing", "gridpg", "share_by_cell"]

CONFIDENT: Final = 0.5
LEAST_SIDE = 2
COUNT: Final = 12
TRIES = 100
"""Draws of a mosaic that has not been drawn before."""


@dataclass(frozen=True, eq=False)
class Tile:
    """A picture that the network is sure about.

    Attributes:
        inputs: ``(C, h, w)``.
        target: Its top class.
        probability: Of that class.
        name: The picture's name.
        row: Which of the pictures it is.
    """

    inputs: Tensor = field(repr=False)
    target: ClassTarget
    probability: float
    name: str
    row: int


@dataclass(frozen=True, eq=False)
class Mosaic:
    """Tiles of different classes in rows and columns, row by row.

    Attributes:
        tiles: As many as there are cells.
        side: How many rows, and columns.
    """

    tiles: tuple[Tile, ...]
    side: int

    @property
    def inputs(self) -> Tensor:
        """``(1, C, side * h, side * w)``."""
        each = [tile.inputs for tile in self.tiles]
        rows = [torch.cat(each[start : start + self.side], dim=2) for start in range(0, len(each), self.side)]
        return torch.cat(rows, dim=1)[None]

    @property
    def mark(self) -> int:
        """A number that tells it from other mosaics, so that what is drawn at random for each is its own."""
        return zlib.crc32(self.inputs.detach().cpu().float().numpy().tobytes())

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the pictures, row by row."""
        return tuple(tile.name for tile in self.tiles)


@dataclass(frozen=True, eq=False)
class GridPointing:
    """Which share of the positive values lies in the cell of the class that is explained.

    Attributes:
        methods: Names of the methods.
        mosaics: The mosaics.
        shares: ``(M, K, cells)``: of each method, mosaic and cell; NaN where a map has no positive value.
        checks: What the user should know.
    """

    methods: tuple[str, ...]
    mosaics: tuple[Mosaic, ...] = field(repr=False)
    shares: NDArray[np.float64] = field(repr=False)
    checks: tuple[str, ...] = ()

    @property
    def values(self) -> NDArray[np.float64]:
        """``(M, K)``: of each mosaic the mean over its cells, undefined ones left out; NaN where all are."""
        defined = np.isfinite(self.shares)
        count = defined.sum(axis=2)
        total = np.where(defined, self.shares, 0.0).sum(axis=2)
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)

    @property
    def undefined(self) -> NDArray[np.int64]:
        """``(M,)``: how many maps had no positive value."""
        return np.asarray((~np.isfinite(self.shares)).sum(axis=(1, 2)), dtype=np.int64)


def gridpg(
    model: Model,
    pictures: Sequence[Sample] | Tensor,
    _target: TargetLike,
    methods: Mapping[str, Explain],
    *,
    seed: int = 0,
    side: int = 2,
    probability: float = CONFIDENT,
) -> NDArray[np.float64]:
    """The grid pointing game (GridPG), by picture: :func:`grid_pointing` on a mosaic that every picture leads.

    A picture that the network is sure about is put into a mosaic with others of the same call, each of another class,
    in places drawn at random; its value is the mean of the mosaic's cells. Higher is better; the range is [0, 1], and a
    map that knows nothing has one over the number of cells: 0.25 on 2 x 2. NaN where the network is not sure about the
    picture, where there are too few others, and where no map of the mosaic has a positive value.

    References: Böhle, Fritz and Schiele, Convolutional Dynamic Alignment Networks for Interpretable Classifications,
    CVPR 2021; Rao, Böhle and Schiele, Towards Better Understanding Attribution Methods, CVPR 2022.

    Args:
        model: The network.
        pictures: Pictures, or inputs ``(N, C, h, w)``.
        _target: Not looked at: it is the classes of a mosaic that are explained.
        methods: Methods by name.
        seed: Of the choice of mosaics, and of what methods draw at random.
        side: Rows, and columns, of a mosaic.
        probability: How sure the network has to be of a picture's top class.

    Returns:
        ``(M, N)`` float64.

    Raises:
        UsageError: If the network answers no such question.
        ExplanationError: If the network takes no larger inputs.
    """
    tiles = find_tiles(model, pictures, probability=probability)
    found = np.full((len(methods), len(pictures)), np.nan)
    mosaics = {tile.row: _mosaic_with(tile, tiles, side, seed) for tile in tiles}
    led = {row: mosaic for row, mosaic in mosaics.items() if mosaic is not None}
    if led:
        found[:, list(led)] = _point(model, tuple(led.values()), methods, seed).values
    return found


def grid_pointing(
    model: Model,
    pictures: Sequence[Sample] | Tensor,
    methods: Mapping[str, Explain],
    *,
    count: int = COUNT,
    side: int = 2,
    probability: float = CONFIDENT,
    seed: int = 0,
) -> GridPointing:
    """The grid pointing game (GridPG): the share of a map's positive values that lies in the right cell of a mosaic.

    Mosaics are made of pictures that the network is sure about, each of another class; every class of a mosaic is
    explained, and the share of positive values in its cell is the score. No annotation is needed. Higher is better;
    the range is [0, 1], and a map that knows nothing has one over the number of cells: 0.25 on 2 x 2. A map without a
    positive value is undefined: counted, and never scored. The network must take inputs larger than its own. It says
    nothing of where in a cell the object is, and a picture can show what another cell's class is known by.

    References: Böhle, Fritz and Schiele, Convolutional Dynamic Alignment Networks for Interpretable Classifications,
    CVPR 2021; Rao, Böhle and Schiele, Towards Better Understanding Attribution Methods, CVPR 2022.

    Args:
        model: The network.
        pictures: Pictures, or inputs ``(N, C, h, w)``; those that the network is not sure about are left out.
        methods: Methods by name.
        count: How many mosaics.
        side: Rows, and columns, of a mosaic.
        probability: How sure the network has to be of a picture's top class.
        seed: Of the choice of mosaics, and of what methods draw at random.

    Raises:
        UsageError: If there are too few pictures of different classes, or the network answers no such question.
        ExplanationError: If the network takes no larger inputs.
    """
    if side < LEAST_SIDE or count < 1:
        raise ParameterError(f"side={side} and count={count}; expected a side of at least 2, and at least one mosaic.")
    tiles = find_tiles(model, pictures, probability=probability)
    mosaics = build_mosaics(tiles, count, side=side, seed=seed)
    found = _point(model, mosaics, methods, seed)
    return replace(found, checks=_describe(mosaics, count, len(pictures), len(tiles)))


def _point(model: Model, mosaics: Sequence[Mosaic], methods: Mapping[str, Explain], seed: int) -> GridPointing:
    """The shares of all methods on some mosaics."""
    _check_larger(model, mosaics[0].inputs)
    side, total = mosaics[0].side, len(methods) * len(mosaics)
    shares = np.full((len(methods), len(mosaics), side * side), np.nan)
    for number, mosaic in enumerate(mosaics):
        inputs = mosaic.inputs.expand(len(mosaic.tiles), -1, -1, -1)
        targets = [tile.target for tile in mosaic.tiles]
        for row, explain in enumerate(methods.values()):
            step = number * len(methods) + row
            with part_of_progress(slice(step, step + 1), total):
                maps = ask_maps(explain, model, inputs, targets, next_seed(seed, mosaic.mark))
            for cell, each in enumerate(maps):
                shares[row, number, cell] = share_by_cell(each, side)[cell]
    return GridPointing(tuple(methods), tuple(mosaics), shares)


def share_by_cell(values: NDArray[np.float32], side: int) -> NDArray[np.float64]:
    """The share of a map's positive values in each cell of a mosaic, row by row; all NaN if there are none.

    Args:
        values: ``(H, W)``; NaN counts as nothing.
        side: Rows, and columns, of the mosaic, which divide the map evenly.

    Returns:
        ``(side * side,)`` float64, whose sum is 1.
    """
    positive = np.maximum(np.nan_to_num(values.astype(np.float64), nan=0.0), 0)
    height, width = positive.shape
    cells = positive.reshape(side, height // side, side, width // side).sum(axis=(1, 3)).ravel()
    total = cells.sum()
    return cells / total if total > 0 else np.full(side * side, np.nan)


def find_tiles(
    model: Model, pictures: Sequence[Sample] | Tensor, *, probability: float = CONFIDENT
) -> tuple[Tile, ...]:
    """The pictures that the network is sure about.

    Args:
        model: The network.
        pictures: Pictures, or inputs ``(N, C, h, w)``.
        probability: How sure it has to be of the top class.

    Raises:
        UsageError: If the network takes no pictures, or does not tell classes of whole pictures apart.
    """
    if model.places != PICTURE:
        raise UsageError(f"'{model.name}' takes no pictures, of which mosaics for GridPG are made; leave gridpg out.")
    batch = prepare(model, pictures)

    def answer(inputs: Tensor, targets: Sequence[Target]) -> Tensor:
        with torch.no_grad():
            logits = model.forward(inputs)[: len(targets)]
        if model.detecting or is_dense(logits) or not model.head.probable:
            raise UsageError(f"'{model.name}' gives no probability of a class of the whole picture; leave gridpg out.")
        return class_probabilities(logits.detach().double(), model.head).cpu()

    shares = torch.cat(ask(model, batch, answer, batch_size=BATCH).results)
    best, classes = shares.max(dim=1)
    rows = zip(batch.inputs, classes.tolist(), best.tolist(), batch.pictures, strict=True)
    return tuple(
        Tile(inputs, named_class(top, model.labels), share, picture.name, row)
        for row, (inputs, top, share, picture) in enumerate(rows)
        if share >= probability
    )


def build_mosaics(tiles: Sequence[Tile], count: int, *, side: int = 2, seed: int = 0) -> tuple[Mosaic, ...]:
    """Mosaics of tiles of different classes, drawn at random, no two with the same tiles in the same places.

    There are fewer where there are not as many.

    Args:
        tiles: What to choose from.
        count: How many mosaics.
        side: Rows, and columns, of each.
        seed: Of the choice.

    Raises:
        UsageError: If there are fewer classes than cells.
    """
    cells, classes = side * side, {tile.target.index for tile in tiles}
    if len(classes) < cells:
        raise UsageError(
            f"GridPG of {side} x {side} needs confidently classified pictures of {cells} classes; there are "
            f"{len(tiles)} such pictures, of {len(classes)} classes: give more pictures, or a lower probability."
        )
    rng, found = np.random.default_rng(seed), dict[tuple[int, ...], Mosaic]()
    for _ in range(TRIES * count):
        by_class: dict[int, int] = {}
        for at in rng.permutation(len(tiles)).tolist():
            by_class.setdefault(tiles[at].target.index, at)
        chosen = tuple(by_class.values())[:cells]
        found.setdefault(chosen, Mosaic(tuple(tiles[at] for at in chosen), side))
        if len(found) == count:
            break
    return tuple(found.values())


def _mosaic_with(tile: Tile, tiles: Sequence[Tile], side: int, seed: int) -> Mosaic | None:
    """A mosaic of a tile and others, in places drawn at random; None if there are too few others."""
    rng, by_class = np.random.default_rng([seed, tile.row]), {tile.target.index: tile}
    for at in rng.permutation(len(tiles)).tolist():
        by_class.setdefault(tiles[at].target.index, tiles[at])
    chosen = list(by_class.values())[: side * side]
    return (
        Mosaic(tuple(chosen[at] for at in rng.permutation(len(chosen))), side) if len(chosen) == side * side else None
    )


def _check_larger(model: Model, inputs: Tensor) -> None:
    """Refuse a network that takes no inputs as large as a mosaic."""
    size = spell_size(size_of(inputs))
    try:
        with torch.no_grad():
            logits = model.forward(model.to_device(inputs.expand(model.fixed_batch or 1, -1, -1, -1)))
    except CnnvizError as error:
        raise ExplanationError(
            f"'{model.name}' takes no inputs of {size} pixels, as mosaics for GridPG are; leave gridpg out. ({error})"
        ) from error
    if not bool(logits.isfinite().all()):
        raise ExplanationError(f"'{model.name}' gives no finite answer for a mosaic of {size} pixels.")


def _describe(mosaics: Sequence[Mosaic], count: int, pictures: int, tiles: int) -> tuple[str, ...]:
    """What the user should know: how many pictures were left out, and mosaics missing."""
    said = [f"GridPG: mosaics of {tiles} of {pictures} pictures, whose top class is probable enough"] * (
        tiles < pictures
    )
    said += [f"GridPG: there are only {len(mosaics)} different mosaics of these pictures"] * (len(mosaics) < count)
    return tuple(said)

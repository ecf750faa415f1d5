"""The deconvnet of Zeiler and Fergus: one activation of a unit of any layer, projected back to the pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cnnviz.core.dimensions import Size, size_of
from cnnviz.core.layer import AUTOMATIC, Arrangement
from cnnviz.core.picture import Picture
from cnnviz.core.target import Unit
from cnnviz.engine.arrangement import to_maps
from cnnviz.engine.batching import Chunks, in_chunks, usual_size
from cnnviz.engine.capture import differentiate
from cnnviz.engine.partial import run_to
from cnnviz.engine.rules import Coverage, ruled
from cnnviz.engine.undisturbed import undisturbed
from cnnviz.errors import ExplanationError
from cnnviz.images.reading import ImagesLike
from cnnviz.methods.cams.layer_maps import field_of
from cnnviz.methods.prepare import InputBatch, prepare, provenance_of
from cnnviz.methods.units.features import parse_units
from cnnviz.models.model import Model
from cnnviz.results.projections import Projections

__all__ = ["project_places", "project_units"]

Result = TypeVar("Result")
NINE = 9
CAVEAT = "a projection shows which part of the picture drove the unit"
SWITCHES = ", by way of this picture's own max-pool switches"


def project_units(model: Model, images: ImagesLike, layer: str, units: str | None, *, batch_size: int) -> Projections:
    """Each unit's largest activation in the up to nine pictures that excite it most, projected back.

    Args:
        model: The network.
        images: Any accepted form of images.
        layer: The layer's name.
        units: Numbers and ranges of units; None takes the nine with the largest activations.
        batch_size: Most images at once.

    Raises:
        UnknownNameError: If there is no such layer.
        ParameterError: If there is no such unit.
        ExplanationError: If the layer has no units, or the rule changes what the network computes.
    """
    if layer != AUTOMATIC:
        model.check_layer(layer)
    batch = prepare(model, images)
    with undisturbed(model.module):
        projector = _LayerProjector(model, batch, layer, batch_size)
        layer = projector.name
        peaks = projector.peaks()
        chosen = _choose_units(units, layer, peaks)
        values, places = (each[:, chosen].T for each in (peaks.values, peaks.places))
        best = values.topk(min(NINE, len(batch.inputs)), dim=1)
        projected = projector.project(chosen, best.indices, places.gather(1, best.indices))
    found_places = np.stack(np.unravel_index(places.gather(1, best.indices).numpy(), peaks.grid), axis=-1)
    names = tuple(Unit(layer, number) for number in chosen)
    targets = tuple(str(unit) for unit in names)
    pictured = isinstance(batch.pictures[0], Picture)
    return Projections(
        values=projected.values.numpy(),
        activations=best.values.numpy(),
        places=found_places.astype(np.int64),
        boxes=projector.boxes(found_places),
        rows=best.indices.numpy(),
        units=names,
        seen=model.preprocess.to_pixels(batch.inputs) if pictured else model.preprocess.to_values(batch.inputs),
        pictures=batch.pictures,
        model=model.name,
        checks=tuple(dict.fromkeys([*batch.checks, *peaks.checks, *projected.checks, projected.caveat])),
        provenance=provenance_of(model, batch, targets=targets, layer=layer, chunk=projected.chunk),
    )


def project_places(
    model: Model, inputs: Tensor, layer: str, unit: int, places: NDArray[np.int64]
) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """One unit's activation at a given place in each of some inputs, projected back.

    Args:
        model: The network.
        inputs: ``(N, C, ...)``.
        layer: The layer's name.
        unit: The unit's number.
        places: ``(N, 2)``: rows and columns in the layer; as many numbers as the input has axes of places.

    Returns:
        ``(N, C, ...)`` float32, and what the rule touched.

    Raises:
        ExplanationError: If the layer has no units, or the rule changes what the network computes.
    """
    with undisturbed(model.module):
        projector = _LayerProjector(model, InputBatch(inputs, (), (), ()), layer, usual_size(model.device))
        flat = torch.from_numpy(np.ravel_multi_index(tuple(places.T), projector.grid))
        projected = projector.project([unit], torch.arange(len(inputs))[None], flat[None])
    return projected.values[0].numpy(), projected.checks


@dataclass(frozen=True)
class _LargestActivations:
    """Each picture's largest activation of every unit ``(N, C)``, and where on the grid it is, row by row."""

    values: Tensor
    places: Tensor
    grid: Size
    checks: tuple[str, ...]


@dataclass(frozen=True)
class _BackProjections:
    """Projections ``(U, K, C, H, W)``, and what they do not show."""

    values: Tensor
    chunk: int
    checks: tuple[str, ...]
    caveat: str


class _LayerProjector:
    """Runs a network as far as one layer, and projects its units' activations back to the input."""

    def __init__(self, model: Model, batch: InputBatch, name: str, size: int) -> None:
        self._model, self._batch, self._size = model, batch, size
        layer = model.layers_on(self._size_of_inputs).resolve(name)
        self.name = layer.name if name == AUTOMATIC else name
        if layer.shape is None or (layer.arrangement is None and len(layer.shape) != 1):
            raise ExplanationError(f"Layer '{name}' has no units: its output is {layer.shape or 'no tensor'}.")
        self._call, self._arrangement = layer.call, layer.arrangement

    @property
    def grid(self) -> Size:
        """Lengths of the layer's map: of pictures rows and columns."""
        return self._arrangement.grid if self._arrangement else (1,) * len(self._size_of_inputs)

    def peaks(self) -> _LargestActivations:
        """Where in every picture each unit responds most."""

        def ask(inputs: Tensor, rows: slice) -> tuple[Tensor, Tensor]:
            with torch.no_grad():
                flat = self._lay_out(self._run(inputs))[: rows.stop - rows.start].flatten(2).float()
            found = flat.max(dim=2)
            return found.values.cpu(), found.indices.cpu()

        chunks = self._in_chunks(self._batch.inputs, ask)
        values, places = (torch.cat(each) for each in zip(*chunks.results, strict=True))
        return _LargestActivations(values, places, self.grid, chunks.checks)

    def project(self, units: list[int], rows: Tensor, places: Tensor) -> _BackProjections:
        """Project units' activations back, where the deconvnet rule rectifies them.

        Args:
            units: Channels.
            rows: ``(U, K)``: for each unit the pictures.
            places: ``(U, K)``: where on the grid, row by row.
        """
        needed = torch.unique(rows)
        coverage: list[Coverage] = []

        def ask(inputs: Tensor, some: slice) -> list[tuple[int, int, Tensor]]:
            leaf = inputs.detach().clone().requires_grad_()
            with torch.enable_grad():
                with ruled("deconvnet", needed=False) as touched:
                    output = self._run(leaf)
                self._ensure_undisturbed(self._run(inputs.detach().clone().requires_grad_()), output)
            coverage.append(touched)
            found: list[tuple[int, int, Tensor]] = []
            for number, unit in enumerate(units):
                cases = [
                    (rank, int(torch.searchsorted(needed, row)) - some.start, int(place))
                    for rank, (row, place) in enumerate(zip(rows[number], places[number], strict=True))
                ]
                held = [case for case in cases if 0 <= case[1] < some.stop - some.start]
                gradient = self._project_back(leaf, output, unit, held)
                found += [(number, rank, gradient[row].float().cpu()) for rank, row, _ in held]
            return found

        chunks = self._in_chunks(self._batch.inputs[needed.to(self._batch.inputs.device)], ask)
        values = torch.zeros(*rows.shape, *self._batch.inputs.shape[1:])
        for number, rank, one in (case for result in chunks.results for case in result):
            values[number, rank] = one
        checks = (*_describe_rule(coverage[0], self.name), *chunks.checks)
        return _BackProjections(values, chunks.size, checks, CAVEAT + (SWITCHES if coverage[0].pools else ""))

    def boxes(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """What places ``(U, K, 2)`` of the layer see, ``(U, K, 4)``."""
        size = self._size_of_inputs
        field, whole = field_of(self._model, self.name, size), (*(0 for _ in size), *size)
        flat = places.reshape(-1, len(size)).tolist()
        boxes = [field.box(*place, *size) if field else whole for place in flat]
        return np.array(boxes, dtype=np.int64).reshape(*places.shape[:-1], len(whole))

    @property
    def _size_of_inputs(self) -> Size:
        return size_of(self._batch.inputs)

    def _run(self, inputs: Tensor) -> Tensor:
        return run_to(self._model.module, self._model.forward, inputs, self.name, self._call)

    def _lay_out(self, output: Tensor) -> Tensor:
        return _lay_out(output, self._arrangement)

    def _project_back(self, leaf: Tensor, output: Tensor, unit: int, cases: list[tuple[int, int, int]]) -> Tensor:
        """The gradient at the input, from a seed that is the unit's activation at its place and zero elsewhere."""
        if not cases or not output.requires_grad:
            return torch.zeros_like(leaf)
        maps = self._lay_out(output)
        seed = torch.zeros_like(maps)
        for _, row, place in cases:
            flat = maps.detach()[row, unit].flatten()
            seed[row, unit].view(-1)[place] = flat[place].clamp_min(0)
        (gradient,) = differentiate(maps, [leaf], seed, again=True)
        return torch.zeros_like(leaf) if gradient is None else gradient

    def _ensure_undisturbed(self, plain: Tensor, output: Tensor) -> None:
        if not torch.allclose(plain, output, rtol=0, atol=0, equal_nan=True):
            raise ExplanationError(
                f"Under the deconvnet rule layer '{self.name}' answers differently, so there would be no telling what "
                "its projections show."
            )

    def _in_chunks(self, inputs: Tensor, ask: Callable[[Tensor, slice], Result]) -> Chunks[Result]:
        model = self._model
        return in_chunks(inputs, ask, size=self._size, device=model.device, dtype=model.dtype, fixed=model.fixed_batch)


def _lay_out(output: Tensor, arrangement: Arrangement | None) -> Tensor:
    return output[:, :, None] if arrangement is None else to_maps(output, arrangement)


def _choose_units(units: str | None, layer: str, peaks: _LargestActivations) -> list[int]:
    count = peaks.values.shape[1]
    if units is not None:
        return parse_units(units, layer, count)
    strongest: list[int] = peaks.values.amax(dim=0).topk(min(NINE, count)).indices.tolist()
    return strongest


def _describe_rule(coverage: Coverage, layer: str) -> tuple[str, ...]:
    if not coverage.activations:
        return (f"no activation function comes before {layer}: its projections are transposed convolutions alone",)
    return str(coverage), "verified: the rule leaves the forward pass unchanged, bit for bit"

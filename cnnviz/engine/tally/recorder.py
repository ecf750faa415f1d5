"""The largest value of every unit of many layers in each image, reduced while the network runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cnnviz.core.dimensions import Size, count_places
from cnnviz.core.layer import Arrangement, split_call
from cnnviz.engine.activations import BeforeSaturation, FindSaturation, Saturation
from cnnviz.engine.arrangement import Arranger, first_tensor, to_maps
from cnnviz.engine.calls.descent import Descent
from cnnviz.engine.functions import follow_functions
from cnnviz.engine.layers import run
from cnnviz.engine.undisturbed import hookable_parts
from cnnviz.errors import ExplanationError

__all__ = ["RecordedLayer", "PeakRecorder", "observe_outputs"]


@dataclass(frozen=True)
class RecordedLayer:
    """One layer that is recorded.

    Attributes:
        name: As it was asked for, such as ``"relu#2"``.
        call: Which call of the layer, counted from 1.
        units: How many units (channels) it has.
        grid: Lengths of its map along each axis of places: of pictures rows and columns.
        arrangement: Where its output keeps channels and places; None for a vector a unit.
        saturation: The function with a ceiling that the layer ends in: what that is given is recorded instead.
    """

    name: str
    call: int
    units: int
    grid: Size
    arrangement: Arrangement | None
    saturation: Saturation | None

    @property
    def ranked(self) -> str:
        """Which tensor is recorded, in words."""
        return f"the layer before its {self.saturation.name}" if self.saturation else "the layer's output"


def observe_outputs(module: nn.Module, example: Tensor, names: Sequence[str]) -> list[RecordedLayer]:
    """How layers can be recorded, from one forward.

    Args:
        module: The network, undisturbed.
        example: Network input on its device.
        names: Layers; of several calls of one the last that is made from the input is meant, or the k-th of
            ``"name#k"``.

    Raises:
        ExplanationError: If a layer is not run, or its output has no units.
    """
    arranger, calls, meant = Arranger(module, example.shape[2:]), Counter[str](), dict[str, int]()
    seen: dict[tuple[str, int], RecordedLayer | str] = {}
    finding, descent, one = FindSaturation(), Descent(example), (1,) * count_places(example.shape)

    def hook(name: str) -> Callable[..., None]:
        def observe(part: nn.Module, _inputs: Any, output: Any) -> None:
            calls[name] += 1
            arrangement = arranger.observe(part, output, len(example))
            seen[name, calls[name]] = _describe_output((name, calls[name]), output, arrangement, finding, one=one)
            if name not in meant or descent.made(output):
                meant[name] = calls[name]

        return observe

    with torch.no_grad(), ExitStack() as stack:
        stack.enter_context(finding)
        functions = stack.enter_context(follow_functions(module, names))
        for name, part in (hookable_parts(module) | functions).items():
            if name:
                stack.callback(part.register_forward_hook(hook(name)).remove)
        stack.enter_context(descent)
        run(module, example)
    return [_find_layer(name, meant, seen) for name in names]


def _describe_output(
    named: tuple[str, int], output: Any, arrangement: Arrangement | None, finding: FindSaturation, *, one: Size
) -> RecordedLayer | str:
    """The layer as it can be recorded, or why it cannot; ``one`` is the grid of a layer without places."""
    tensor = first_tensor(output)
    if tensor is None or not tensor.is_floating_point():
        return f"it gives {'no tensor' if tensor is None else f'{tensor.dtype} values'}"
    if arrangement is None and tensor.dim() != 2:
        return f"its output has the shape {tuple(tensor.shape[1:])} for each image"
    grid = arrangement.grid if arrangement else one
    units = arrangement.channels if arrangement else tensor.shape[1]
    return RecordedLayer(*named, units, grid, arrangement, finding.of(tensor))


def _find_layer(name: str, meant: dict[str, int], seen: dict[tuple[str, int], RecordedLayer | str]) -> RecordedLayer:
    plain, call = split_call(name)
    found = seen.get((plain, call or meant.get(plain, 0)), "it is not run in a forward")
    if isinstance(found, str):
        raise ExplanationError(f"Layer '{name}' has no units to look at: {found}; 'cnnviz layers' shows which have.")
    return RecordedLayer(name, found.call, found.units, found.grid, found.arrangement, found.saturation)


class _AllRecorded(BaseException):
    """All layers are recorded. Not an Exception, so that no network catches it."""


class PeakRecorder:
    """Runs a network as far as the last of some layers, and keeps only maxima and where they are.

    Use it as a context; the network is hooked inside.

    Args:
        module: The network, undisturbed.
        layers: The layers.
    """

    def __init__(self, module: nn.Module, layers: Sequence[RecordedLayer]) -> None:
        self._module, self._layers = module, layers
        self._found: dict[int, tuple[Tensor, Tensor]] = {}
        self._calls: Counter[str] = Counter()
        self._stack = ExitStack()
        self._early = {number for number, layer in enumerate(layers) if layer.saturation}

    def __enter__(self) -> PeakRecorder:
        with ExitStack() as stack:
            late = {split_call(layer.name)[0] for layer in self._layers if not layer.saturation}
            functions = stack.enter_context(follow_functions(self._module, late))
            for name in sorted(late):
                part = functions[name] if name in functions else self._module.get_submodule(name)
                stack.callback(part.register_forward_hook(self._catching_hook(name)).remove)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_raised: object) -> None:
        self._stack.close()

    def __call__(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """The largest values of all layers' units, ``(N, U)`` float32, and where they are, ``(N, U)``, row by row.

        Of equal values the first place counts.

        Raises:
            ExplanationError: If the network did not run all layers as it did when it was observed.
        """
        self._found.clear()
        self._calls.clear()
        mode = BeforeSaturation(self._catch_subject) if self._early else nullcontext()
        try:
            with torch.no_grad(), mode:
                run(self._module, inputs)
        except _AllRecorded:
            pass
        for number, layer in enumerate(self._layers):
            if number not in self._found:
                raise ExplanationError(f"Layer '{layer.name}' was not run for every picture; leave it out.")
        pairs = [self._found[number] for number in range(len(self._layers))]
        return torch.cat([values for values, _ in pairs], dim=1), torch.cat([places for _, places in pairs], dim=1)

    def _catching_hook(self, name: str) -> Callable[..., None]:
        asked: dict[int, list[int]] = {}
        for number, layer in enumerate(self._layers):
            if split_call(layer.name)[0] == name and not layer.saturation:
                asked.setdefault(layer.call, []).append(number)

        def catch(_part: nn.Module, _inputs: Any, output: Any) -> None:
            self._calls[name] += 1
            numbers, tensor = asked.get(self._calls[name]), first_tensor(output)
            if numbers and tensor is not None:
                self._keep_peaks(numbers, tensor)

        return catch

    def _catch_subject(self, call: int, subject: Tensor) -> None:
        numbers = [one for one in self._early if (named := self._layers[one].saturation) and named.number == call]
        if numbers:
            self._keep_peaks(numbers, subject)

    def _keep_peaks(self, numbers: list[int], tensor: Tensor) -> None:
        layer = self._layers[numbers[0]]
        found = _unit_peaks(tensor.detach(), layer.arrangement)
        self._found.update(dict.fromkeys(numbers, found))
        if found[0].shape[1] != layer.units:
            raise ExplanationError(f"Layer '{layer.name}' has now {found[0].shape[1]} units, not {layer.units}.")
        if len(self._found) == len(self._layers):
            raise _AllRecorded


def _unit_peaks(output: Tensor, arrangement: Arrangement | None) -> tuple[Tensor, Tensor]:
    maps = output[:, :, None] if arrangement is None else to_maps(output, arrangement)
    flat = maps.flatten(2).float()
    if flat.device.type != "cpu":
        values, places = flat.max(dim=2)
        return values, places.int()
    held: np.ndarray[Any, np.dtype[np.float32]] = flat.contiguous().numpy()
    found = held.argmax(axis=2)  # NumPy's is as fast as a maximum without its place, torch's seven times slower
    values = torch.from_numpy(np.take_along_axis(held, found[:, :, None], axis=2)[:, :, 0])
    return values, torch.from_numpy(found.astype(np.int32))

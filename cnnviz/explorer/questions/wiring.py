"""How the units of layers are joined: each unit's kernel, and what reads from what, as one forward shows."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from cnnviz.explorer.cache import name_answer
from cnnviz.explorer.exploration import Exploration, ExploredNetwork

if TYPE_CHECKING:
    from torch import Tensor, nn

    from cnnviz.engine.kernels import Kernels
    from cnnviz.models.model import Model

__all__ = ["Wiring", "wiring_of"]

STRONGEST: Final = 8
"""Inputs and outputs that are listed."""
PASSING: Final = ("activation", "batchnorm", "dropout", "pooling")
"""Files of torch.nn.modules with layers whose unit k is made of the unit k before it alone."""
MIXING: Final = ("MultiheadAttention", "Softmax", "Softmax2d", "LogSoftmax", "Softmin", "GLU")
"""Layers in them whose units are made of several."""


@dataclass(frozen=True, eq=False)
class Wiring:
    """The kernels of a network, and which layer's output each layer is given.

    Attributes:
        kernels: The kernels of every layer that convolves, or multiplies with a matrix.
        giver: For each layer the one whose output it is given, as it is; none where that is computed between layers.
        inner: For each layer that only hands on what a part of it returned, that part.
        passing: Layers whose unit k is made of the unit k that they are given alone.
    """

    kernels: Mapping[str, Kernels]
    giver: Mapping[str, str]
    inner: Mapping[str, str]
    passing: frozenset[str]

    def kernel_of(self, layer: str) -> Kernels | None:
        """The kernels that a layer's units are made with: its own, or those of the layer that it only passes on."""
        seen: set[str] = set()
        name: str | None = self.inner.get(layer, layer)
        while name is not None and name not in seen:
            if name in self.kernels:
                return self.kernels[name]
            seen.add(name)
            name = self.giver.get(name) if name in self.passing else None
        return None

    def inputs_of(self, layer: str, unit: int) -> list[dict[str, Any]]:
        """The channels that a unit reads with the largest weights."""
        kernels = self.kernel_of(layer)
        if kernels is None or unit >= len(kernels.values):
            return []
        values = _flat(kernels)[unit]
        first = unit // max(1, len(kernels.values) // kernels.groups) * len(values)
        giver = self.giver.get(kernels.name)
        norms = np.linalg.norm(values, axis=1)
        return [
            {"unit": int(first + at), "layer": giver, "weight": float(values[at].sum()), "norm": float(norms[at])}
            for at in np.argsort(-norms, kind="stable")[:STRONGEST]
            if norms[at] > 0
        ]

    def outputs_of(self, layer: str, unit: int) -> list[dict[str, Any]]:
        """The units of the layers that read this one's output, with the largest weights on the unit."""
        found: list[dict[str, Any]] = []
        own = self.inner.get(layer, layer)
        for name, kernels in self.kernels.items():
            if self.giver.get(name) != own or kernels.transposed:
                continue
            values = _flat(kernels)
            each = len(values) // kernels.groups
            group, at = divmod(unit, values.shape[1])
            rows = range(group * each, min((group + 1) * each, len(values)))
            found += [_describe_output(name, row, values[row, at]) for row in rows]
        return sorted(found, key=lambda one: -one["norm"])[:STRONGEST]


def _describe_output(layer: str, unit: int, kernel: NDArray[np.float64]) -> dict[str, Any]:
    return {
        "unit": unit,
        "layer": layer,
        "weight": float(kernel.sum()),
        "norm": float(np.linalg.norm(kernel)),
    }


def _flat(kernels: Kernels) -> NDArray[np.float64]:
    """Kernels ``(U, C, places)``."""
    values = kernels.values.double().cpu().numpy()
    return np.asarray(values.reshape(*values.shape[:2], -1))


def wiring_of(exploration: Exploration, network: ExploredNetwork) -> Wiring:
    """The wiring of a network, found once."""
    return exploration.cache.remember(
        name_answer("wiring", network.key), lambda: _observe_wiring(network.model), lambda _: 1 << 20
    )


def _observe_wiring(model: Model) -> Wiring:
    import torch

    from cnnviz.engine.kernels import observe_kernels

    size = (model.fixed_batch or 1, model.preprocess.channels, *model.preprocess.input_size)
    example = model.to_device(torch.randn(size, generator=torch.Generator().manual_seed(0)))

    def observe() -> Wiring:
        kernels = {name: each for name, each in observe_kernels(model.module, example).items() if not each.linear}
        givers = _Givers()
        _watch_forward(model, example, givers)
        passing = frozenset(name for name, part in model.module.named_modules() if _passes_units(part))
        return Wiring(kernels, givers.giver, givers.inner, passing)

    return model.intact(observe)


def _passes_units(part: nn.Module) -> bool:
    """Whether unit k of a layer is made of the unit k that it is given alone."""
    kind = type(part)
    package, _, file = kind.__module__.rpartition(".")
    known = package == "torch.nn.modules" and file in PASSING and kind.__name__ not in MIXING
    return known or kind.__name__ in ("Identity", "FrozenBatchNorm2d")


class _Givers:
    """Sees which layer returned the very tensor that another is given.

    Attributes:
        giver: For each layer the innermost one that returned it.
        inner: For each layer that hands on what a part of it returned, the innermost such part.
    """

    def __init__(self) -> None:
        self.giver: dict[str, str] = {}
        self.inner: dict[str, str] = {}
        self._returned: dict[int, tuple[str, Tensor]] = {}

    def before(self, name: str, given: Any) -> None:
        """Note who returned what a layer is given."""
        tensor, held = self._find(given)
        if tensor is not None and held:
            self.giver[name] = held

    def after(self, name: str, output: Any) -> None:
        """Note what a layer returns; what a part of it returned stays that part's."""
        tensor, held = self._find(output)
        if tensor is None:
            return
        if held.startswith(f"{name}."):
            self.inner[name] = held
        else:
            self._returned[id(tensor)] = name, tensor

    def _find(self, some: Any) -> tuple[Tensor | None, str]:
        from cnnviz.engine.arrangement import first_tensor

        tensor = first_tensor(some)
        held = None if tensor is None else self._returned.get(id(tensor))
        return tensor, held[0] if held is not None and held[1] is tensor else ""


def _watch_forward(model: Model, example: Tensor, givers: _Givers) -> None:
    """Run the network once, seen by hooks on all its layers."""
    import torch

    from cnnviz.engine.layers import run
    from cnnviz.engine.undisturbed import hookable_parts, undisturbed

    def looking(name: str) -> Any:
        return lambda _, given: givers.before(name, given)

    def keeping(name: str) -> Any:
        return lambda _, __, output: givers.after(name, output)

    with undisturbed(model.module), torch.no_grad(), ExitStack() as hooks:
        for name, part in hookable_parts(model.module).items():
            if name:
                hooks.callback(part.register_forward_pre_hook(looking(name)).remove)
                hooks.callback(part.register_forward_hook(keeping(name)).remove)
        run(model.module, example)

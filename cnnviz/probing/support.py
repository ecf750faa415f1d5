"""Which part of the input a unit can see: the support of a gradient of the network with all its weights positive."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from cnnviz.core.layer import Arrangement
from cnnviz.probing.arrangement import to_maps
from cnnviz.probing.spellings import GATES, activation_of, plain_name
from cnnviz.probing.stopping import run_to

__all__ = ["Box", "Support"]

Box = tuple[int, int, int, int]
"""Top, left, bottom and right in pixels of the network's input; bottom and right are one past the last."""

WEIGHTED = {f"conv{n}d" for n in (1, 2, 3)} | {f"conv_transpose{n}d" for n in (1, 2, 3)} | {"linear", "convolution"}
NORMS = {"batch_norm", "layer_norm", "rms_norm", "local_response_norm", "dropout", "feature_dropout"}
WHOLE = {"group_norm", "instance_norm"}
MAX_POOLS: dict[str, Callable[..., Tensor]] = {
    "max_pool2d": functional.avg_pool2d,
    "adaptive_max_pool2d": functional.adaptive_avg_pool2d,
}


class Support:
    """What the places of a layer see, from one forward of a network in which nothing can cancel.

    Convolutions average, activation functions and norms pass everything on, the maximum of a pool is its mean, and
    gates are constant; then a pixel has a gradient if and only if the unit can see it.

    Args:
        module: The network, within ``undisturbed``.
        forward: From inputs to logits, running the module.
        inputs: One input ``(1, C, H, W)``, or as many as the network takes; only its shape matters.
        layer: The layer's name.
        calls: How often a forward calls the layer.
        arrangement: Where the layer keeps channels and places; None if it has none, and then it sees everything.
    """

    def __init__(
        self,
        module: nn.Module,
        forward: Callable[[Tensor], Any],
        inputs: Tensor,
        layer: str,
        *,
        calls: int,
        arrangement: Arrangement | None,
    ) -> None:
        self._whole: Box = (0, 0, int(inputs.shape[-2]), int(inputs.shape[-1]))
        self._boxes: dict[tuple[int, int], Box] = {}
        self._maps: Tensor | None = None
        self._leaf = torch.ones_like(inputs, dtype=torch.float64, requires_grad=True)
        if arrangement is None or not arrangement.spatial:
            return
        with torch.enable_grad(), _Positive():
            output = run_to(module, forward, self._leaf, layer, calls)
        if output.requires_grad:
            self._maps = to_maps(output, arrangement)

    def box(self, place: tuple[int, int]) -> Box:
        """What the units at a place (row, column) see; the whole input if that is not known."""
        if self._maps is None:
            return self._whole
        if place not in self._boxes:
            value = self._maps[0, :, place[0], place[1]].sum()
            (gradient,) = torch.autograd.grad(value, self._leaf, retain_graph=True)
            self._boxes[place] = _bounds(gradient[0].abs().sum(dim=0) > 0) or self._whole
        return self._boxes[place]


class _Positive(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = plain_name(func)
        activation = activation_of(name, func, args, kwargs)
        if activation is not None:
            return activation.subject
        if name in NORMS:
            return args[0]
        if name in WEIGHTED:
            return _averaged(func, args, kwargs)
        if name in MAX_POOLS:
            return _pooled(name, args, kwargs)
        output = func(*args, **kwargs)
        if name in WHOLE:
            return args[0] + args[0].mean()
        return torch.ones_like(output) if name in GATES else output


def _averaged(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A convolution or linear layer with equal positive weights and no bias."""
    weight = args[1] if len(args) > 1 else kwargs["weight"]
    even = torch.full_like(weight, 1 / weight[0].numel(), dtype=args[0].dtype)
    if len(args) > 2:
        return func(args[0], even, None, *args[3:], **kwargs)
    return func(args[0], even, **{**{key: each for key, each in kwargs.items() if key != "weight"}, "bias": None})


def _pooled(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A max pool as an average pool; a dilated one by pooling a picture that is as wide as its reach."""
    if name == "adaptive_max_pool2d":
        return MAX_POOLS[name](*args[:2])
    given = dict(zip(("kernel_size", "stride", "padding", "dilation", "ceil_mode"), args[1:], strict=False)) | kwargs
    kept = {key: given[key] for key in ("stride", "padding", "ceil_mode") if given.get(key) not in (None, [])}
    return functional.avg_pool2d(args[0], given["kernel_size"], **kept)


def _bounds(seen: Tensor) -> Box | None:
    rows, columns = (torch.nonzero(seen.any(dim=dim)).flatten().tolist() for dim in (1, 0))
    return (rows[0], columns[0], rows[-1] + 1, columns[-1] + 1) if rows else None

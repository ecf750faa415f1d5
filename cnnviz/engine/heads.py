"""Finding a class activation mapping head by the numbers: average pooling right before the classes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from cnnviz.core.dimensions import count_places, place_dims
from cnnviz.core.target import ClassTarget, Difference, Target
from cnnviz.engine.capture import widen_half
from cnnviz.errors import ExplanationError

__all__ = ["NOT_FINITE", "ClassMaps", "find_class_maps"]

aten = torch.ops.aten
POOLS = (
    aten.mean.dim, aten._adaptive_avg_pool2d.default, aten._adaptive_avg_pool3d.default,
    aten.avg_pool2d.default, aten.avg_pool3d.default,
)  # fmt: skip
PRODUCTS = {aten.addmm.default: (1, 2), aten.mm.default: (0, 1)}
NOT_FINITE = "The network's answer is not finite: its weights or its input hold NaN or infinity."
SUMMATION = 1e-5


@dataclass(frozen=True)
class ClassMaps:
    """An activation whose spatial mean, through class weights, is the logits.

    Attributes:
        activation: ``(N, C, h, w)``, what is averaged; of signals and volumes with their axes of places.
        weights: Class weights ``(K, C)``; None where the channels are the classes themselves.
        logits: ``(N, K)``.
    """

    activation: Tensor
    weights: Tensor | None
    logits: Tensor

    def of(self, row: int, target: Target) -> Tensor:
        """The signed map ``(h, w)`` of a class, or of a difference of classes, for one image.

        Raises:
            ExplanationError: If the target is neither.
        """
        weights = self.weights_of(target)
        if weights is not None:
            return torch.einsum("c,c...->...", weights, self.activation[row])
        raise ExplanationError(f"CAM explains classes and their differences, not '{target}'; use Grad-CAM.")

    def weights_of(self, target: Target) -> Tensor | None:
        """Weights ``(C,)`` of a class or a difference of classes; None for other targets."""
        match target:
            case ClassTarget():
                return self._class_weights(target.index)
            case Difference():
                return self._class_weights(target.first.index) - self._class_weights(target.second.index)
        return None

    def _class_weights(self, index: int) -> Tensor:
        if self.weights is not None:
            return self.weights[index]
        own = self.activation.new_zeros(self.activation.shape[1])
        own[index] = 1
        return own


def find_class_maps(forward: Callable[[Tensor], Tensor], inputs: Tensor) -> ClassMaps:
    """Run the network once and find what its classes are averages of.

    Args:
        forward: From inputs to logits ``(N, K)``.
        inputs: ``(N, C, H, W)``.

    Raises:
        ExplanationError: If the logits are neither a linear layer of a spatial mean nor spatial means themselves, or
            not finite.
    """
    seen = _PooledProducts(count_places(inputs.shape))
    with torch.no_grad(), seen:
        logits = forward(inputs)
    if not bool(logits.isfinite().all()):
        raise ExplanationError(NOT_FINITE)
    for activation, pooled in reversed(seen.pooled):
        if _equal_but_rounding(pooled, logits) and _is_spatial_mean(activation, pooled):
            return ClassMaps(widen_half(activation), None, logits)
    for factor, weights, product in reversed(seen.products):
        if not _equal_but_rounding(product, logits):
            continue
        for activation, pooled in reversed(seen.pooled):
            if _equal_but_rounding(pooled, factor) and _is_spatial_mean(activation, pooled):
                return ClassMaps(widen_half(activation), widen_half(weights), logits)
    raise ExplanationError(
        "CAM needs logits that are a linear layer of a spatial mean, or spatial means themselves; this network's are "
        "not. Grad-CAM (gradcam) generalises CAM to any network."
    )


class _PooledProducts(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Keeps what is averaged over all places, and what is multiplied by weights.

    Args:
        places: How many axes of places the network's input has.
    """

    def __init__(self, places: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.places = places
        self.pooled: list[tuple[Tensor, Tensor]] = []
        self.products: list[tuple[Tensor, Tensor, Tensor]] = []

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Skipping would import torch's compiler, which takes seconds, at the first use."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        if func in POOLS and count_places(args[0].shape) and output.numel() == args[0].shape[0] * args[0].shape[1]:
            self.pooled.append((self._without_axis(args[0]), output.flatten(1).clone()))
        elif func in PRODUCTS:
            factor, weights = (args[position] for position in PRODUCTS[func])
            self.products.append((factor.clone(), weights.t(), output.clone()))
        return output

    def _without_axis(self, maps: Tensor) -> Tensor:
        """Maps without the axis of one place that torch gives a signal's for a pool over two."""
        return maps.squeeze(2) if count_places(maps.shape) > self.places else maps


def _equal_but_rounding(one: Tensor, other: Tensor) -> bool:
    """Whether these are the same numbers, but for a conversion to another type."""
    if one.shape != other.shape:
        return False
    tolerance = 2 * max(torch.finfo(one.dtype).eps, torch.finfo(other.dtype).eps) * float(other.abs().max())
    return bool((one - other).abs().max() <= tolerance)


def _is_spatial_mean(activation: Tensor, pooled: Tensor) -> bool:
    """Whether it is the mean over all places: not over other axes or some places, nor of what was changed since."""
    means = widen_half(activation).mean(dim=place_dims(activation))
    if means.shape != pooled.shape:
        return False
    tolerance = (2 * torch.finfo(pooled.dtype).eps + SUMMATION) * float(activation.abs().max())
    return bool((means - pooled).abs().max() <= tolerance)

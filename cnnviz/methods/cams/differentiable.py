"""Class activation maps as differentiable tensors, for a loss that looks at where a network looks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import torch
from torch import Tensor, nn

from cnnviz.core.change import contextmanager
from cnnviz.core.dimensions import PICTURE, count_places, has_places, spell_shape
from cnnviz.core.parse_target import parse_target
from cnnviz.core.similar import Similar, SimilarPair
from cnnviz.core.target import Target, TargetLike, Unit
from cnnviz.engine.logits import select_logits
from cnnviz.engine.scores.score import score, settle
from cnnviz.engine.state.contents import Hooked
from cnnviz.engine.undisturbed import intact
from cnnviz.errors import ExplanationError, ParameterError, TargetError, UnknownNameError, UsageError
from cnnviz.methods.cams.gradcam import (
    multiply,
    weigh_by_mean_gradient,
    weigh_by_normalised_activation,
    weigh_by_positive_gradient,
    weigh_by_share,
)
from cnnviz.models.model import Model

__all__ = ["DifferentiableMaps", "differentiable_maps"]

Differentiable: TypeAlias = Literal["gradcam", "gradcam_plusplus", "xgradcam", "hirescam", "layercam"]

WEIGHED: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "gradcam": weigh_by_mean_gradient,
    "gradcam_plusplus": weigh_by_share,
    "xgradcam": weigh_by_normalised_activation,
    "hirescam": multiply,
    "layercam": weigh_by_positive_gradient,
}


@dataclass(frozen=True)
class DifferentiableMaps:
    """Maps of a training step, with the answers of the same forward.

    Attributes:
        maps: ``(N, h, w)`` (or ``(N, t)``, ``(N, d, h, w)``), signed, at the layer's resolution, in units of the score;
            ``relu()`` is the map as drawn.
        logits: ``(N, K)``, for the usual loss.
        scores: ``(N,)``: the targets' scores.
        targets: The settled target of every image.
    """

    maps: Tensor
    logits: Tensor
    scores: Tensor
    targets: tuple[Target, ...]


def differentiable_maps(
    model: Model | nn.Module,
    inputs: Tensor,
    target: TargetLike | Tensor = None,
    *,
    layer: str,
    method: Differentiable = "gradcam",
) -> DifferentiableMaps:
    """Class activation maps through which a loss can be backpropagated to the network's parameters and to the inputs.

    One forward, in the mode that the network is in (training mode too: batch norm learns as in any step), and the
    gradient above the layer with a graph of its own, so that a loss on the maps has second derivatives of the network
    in it. Nothing is computed without gradients, nothing is detached, no ``.grad`` is written.

    Args:
        model: The network, or the bare module, which must return logits ``(N, K)``.
        inputs: ``(N, C, ...)``, on the network's device and preprocessed already.
        target: What is explained: None (each image's top class), an index, a label where the model has labels,
            ``"a - b"``, a function of the logits, or one for each image, such as a batch's tensor of labels ``(N,)``.
        layer: The layer; its output is ``(N, C, h, w)``, or has as many axes of places as the inputs.
        method: ``"gradcam"``, ``"gradcam_plusplus"``, ``"xgradcam"``, ``"hirescam"`` or ``"layercam"``.

    Raises:
        UnknownNameError: If there is no such layer.
        ParameterError: If there is no such method.
        UsageError: If gradients are off, or the layer has no spatial extent.
        TargetError: If a target is a unit, or there are not as many targets as images.
        ExplanationError: If the layer does not run, or the target does not depend on it.
    """
    if method not in WEIGHED:
        raise ParameterError(f"method is one of {', '.join(get_args(Differentiable))}, not '{method}'.")
    if not torch.is_grad_enabled():
        raise UsageError("Gradients are off here (no_grad or inference_mode); differentiable maps need them.")
    module, labels = (model.module, model.labels) if isinstance(model, Model) else (model, None)

    def ask() -> DifferentiableMaps:
        with _watch_layer(module, layer) as held:
            if isinstance(model, Model):
                logits = model.read(lambda: module(inputs), len(inputs))
            else:
                logits = select_logits(module(inputs), count=len(inputs))
        activation = _check_spatial(held, layer, count_places(inputs.shape))
        head = model.head if isinstance(model, Model) else None
        settled = settle(_parse_image_targets(target, len(inputs), labels), logits, labels, head)
        scores = score(settled, logits)
        (gradient,) = torch.autograd.grad(scores.sum(), activation, create_graph=True, allow_unused=True)
        if gradient is None:
            raise ExplanationError(f"The target does not depend on layer '{layer}'.")
        return DifferentiableMaps(WEIGHED[method](activation, gradient), logits, scores, tuple(settled))

    return intact(ask, module)


@contextmanager
def _watch_layer(module: nn.Module, layer: str) -> Iterator[list[Any]]:
    """Inside, the layer's output is kept, and the layers after it work on a copy that they may overwrite."""
    known = dict(module.named_modules())
    if not layer or layer not in known:
        raise UnknownNameError("layer", layer, filter(None, known), "'cnnviz layers' lists them all.")
    held: list[Any] = []

    def keep(_module: nn.Module, _inputs: Any, output: Any) -> Any:
        if not isinstance(output, Tensor):
            held[:] = [output]
            return output
        held[:] = [output if output.requires_grad else output.detach().requires_grad_()]
        return held[0].clone()

    with Hooked(known[layer], keep):
        yield held


def _check_spatial(held: list[Any], layer: str, places: int) -> Tensor:
    if not held:
        raise ExplanationError(f"Layer '{layer}' does not run in this network's forward.")
    output = held[0]
    if not isinstance(output, Tensor) or not has_places(output, places):
        kind = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        expected = "(N, C, h, w)" if places == PICTURE else spell_shape(places)
        raise UsageError(f"Layer '{layer}' gives {kind}; expected an output {expected}.")
    return output


def _parse_image_targets(target: Any, count: int, labels: Any) -> list[Target]:
    several = isinstance(target, (list, tuple)) or getattr(target, "ndim", 0) == 1
    likes = list(target) if several else [target] * count
    if len(likes) != count:
        raise TargetError(f"Give one target for all images, or one for each: {len(likes)} targets, {count} images.")
    found = [parse_target(each, labels) for each in likes]
    if any(isinstance(each, (Unit, Similar, SimilarPair)) for each in found):
        raise TargetError("Differentiable maps explain classes or functions of the logits, not units or likeness.")
    return found

"""Every bias of a network and the score's gradient there, from one forward and one backward."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from cnnviz.core.layer import Arrangement
from cnnviz.engine.arrangement import Arranger
from cnnviz.engine.capture import differentiate
from cnnviz.engine.undisturbed import hookable_parts
from cnnviz.errors import ExplanationError

__all__ = ["FullGradients", "full_gradients"]

Biased = nn.Conv2d | nn.Linear | nn.modules.batchnorm._BatchNorm


@dataclass(frozen=True)
class FullGradients:
    """What a piecewise linear score adds up from.

    Attributes:
        inputs: Input times gradient ``(N, C, H, W)``.
        biases: For each layer with a bias, bias times gradient in the layer's own shape, and its arrangement.
        scores: ``(N,)``.
        logits: ``(N, K)``.
    """

    inputs: Tensor
    biases: tuple[tuple[Tensor, Arrangement | None], ...]
    scores: Tensor
    logits: Tensor

    def missing(self) -> Tensor:
        """What is left of each score ``(N,)`` without all contributions; 0 for a piecewise linear network."""
        total = self.inputs.double().flatten(1).sum(dim=1)
        for bias, _ in self.biases:
            total = total + bias.double().flatten(1).sum(dim=1)
        return self.scores.double() - total


def full_gradients(
    module: nn.Module, forward: Callable[[Tensor], Tensor], inputs: Tensor, score: Callable[[Tensor], Tensor]
) -> FullGradients:
    """Run forward and backward, and multiply every bias with the score's gradient at the layer's output.

    A batch norm in evaluation mode adds ``beta - mean * gamma / sqrt(variance + epsilon)``, its implicit bias.

    Args:
        module: The network, undisturbed.
        forward: From inputs to logits ``(N, K)``.
        inputs: ``(N, C, H, W)``.
        score: From logits to scores ``(N,)``.

    Raises:
        ExplanationError: If the network's backward fails, or a layer runs on another number of images.
    """
    arranger = Arranger(module, inputs.shape[2:])
    held: list[tuple[Biased, Tensor, Arrangement | None]] = []

    def observe(part: nn.Module, _inputs: Any, output: Any) -> Any:
        arrangement = arranger.observe(part, output, len(inputs))
        if not isinstance(part, Biased) or not isinstance(output, Tensor) or _effective_bias(part) is None:
            return None
        if len(output) == 1 != len(inputs):  # made once for all images
            return None
        if len(output) != len(inputs):
            raise ExplanationError(
                f"This network runs layers on {len(output)} images or windows where {len(inputs)} were given, so that "
                "their biases belong to no one picture; use integrated gradients."
            )
        held.append((part, output, arrangement))
        return output.clone()

    with torch.enable_grad(), ExitStack() as hooks:
        for part in hookable_parts(module).values():
            if part is not module:
                hooks.callback(part.register_forward_hook(observe, prepend=True).remove)
        leaf = inputs.detach().clone().requires_grad_()
        logits = forward(leaf)
        scores = score(logits)
    outputs = [output for _, output, _ in held]
    if not scores.requires_grad or not all(output.requires_grad for output in outputs):
        raise ExplanationError(
            "Parts of this network run without gradients (no_grad, checkpointing or quantised layers), so what its "
            "biases contribute cannot be known; use occlusion."
        )
    ones = torch.ones_like(scores)
    leaves = [leaf, *outputs]
    found = differentiate(scores, leaves, ones)
    first, *rest = (
        torch.zeros_like(one) if gradient is None else gradient for one, gradient in zip(leaves, found, strict=True)
    )
    biases = tuple(
        (_weigh_gradient(part, gradient, arrangement), arrangement)
        for (part, _, arrangement), gradient in zip(held, rest, strict=True)
    )
    return FullGradients((leaf * first).detach(), biases, scores.detach(), logits.detach())


def _effective_bias(part: Biased) -> Tensor | None:
    if not isinstance(part, nn.modules.batchnorm._BatchNorm):
        return part.bias
    if part.running_mean is None or part.running_var is None:
        return None
    scale = (part.running_var + part.eps).rsqrt() * (1 if part.weight is None else part.weight)
    return -part.running_mean * scale + (0 if part.bias is None else part.bias)


def _weigh_gradient(part: Biased, gradient: Tensor, arrangement: Arrangement | None) -> Tensor:
    bias = _effective_bias(part)
    assert bias is not None
    channels_last = isinstance(part, nn.Linear) or arrangement is None or arrangement.order != "NCHW"
    shape = bias if channels_last else bias.reshape(1, -1, 1, 1)
    return (gradient * shape).detach()

"""Batch norms: folding them into the convolutions before them, and how far activations lie from those of training."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any, TypeAlias
from weakref import ref

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_weights

from cnnviz.core.change import contextmanager
from cnnviz.core.dimensions import PICTURE, VOLUME, has_places
from cnnviz.engine.undisturbed import undisturbed

__all__ = [
    "NormDistance",
    "Pair",
    "channels_last",
    "folded_copy",
    "in_memory_format",
    "observe_pairs",
    "running_norms",
    "trained_norms",
    "watch_norms",
]

Convolution: TypeAlias = nn.Conv1d | nn.Conv2d | nn.Conv3d
Norm: TypeAlias = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d
Pair: TypeAlias = tuple[Convolution, Norm]

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


@contextmanager
def observe_pairs(module: nn.Module) -> Iterator[list[Pair]]:
    """Run the network once inside; afterwards the list has the convolutions that a batch norm can be folded into.

    Those are the ones whose very output a batch norm was handed, both being run once; subclasses of either, which may
    do more, are left alone.

    Args:
        module: The network; it is in evaluation mode inside, and comes back as it was.
    """
    outputs: dict[int, tuple[Convolution, ref[Tensor]]] = {}
    found: list[Pair] = []
    calls: Counter[nn.Module] = Counter()

    def seen(part: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        calls[part] += 1
        if isinstance(part, CONVOLUTIONS) and isinstance(output, Tensor):
            outputs[id(output)] = part, ref(output)
        elif isinstance(part, NORMS) and inputs and id(inputs[0]) in outputs and part.track_running_stats:
            conv, returned = outputs[id(inputs[0])]
            if returned() is inputs[0]:
                found.append((conv, part))

    pairs: list[Pair] = []
    with undisturbed(module), torch.no_grad(), ExitStack() as hooks:
        for part in module.modules():
            if type(part) in (*CONVOLUTIONS, *NORMS):
                hooks.callback(part.register_forward_hook(seen).remove)
        yield pairs
    pairs += [(conv, norm) for conv, norm in found if calls[conv] == calls[norm] == 1]


def folded_copy(
    module: nn.Module, pairs: Sequence[Pair], memory_format: torch.memory_format = torch.channels_last
) -> nn.Module:
    """A copy in evaluation mode, batch norms folded into the convolutions before them.

    The caller checks the copy's answers against the network's own: a convolution whose output something else reads
    would show there.

    Args:
        module: The network; it is left alone.
        pairs: Convolutions of the network, each with the batch norm that is folded into it.
        memory_format: How its weights lie in memory.

    Returns:
        The copy, which takes inputs of any memory format.
    """
    replaced: dict[int, Any] = {}
    for conv, norm in pairs:
        replaced[id(conv)], replaced[id(norm)] = _fold_norm(conv, norm), nn.Identity()
    clone = copy.deepcopy(module, replaced)
    for part in clone.modules():
        part.training = False
    return in_memory_format(clone.requires_grad_(requires_grad=False), memory_format)


def in_memory_format(module: nn.Module, memory_format: torch.memory_format) -> nn.Module:
    """The network, its weights lying in memory so, as far as they can."""
    if memory_format is not torch.channels_last_3d:
        return module.to(memory_format=memory_format)
    for part in module.modules():
        for held in (*part._parameters.values(), *part._buffers.values()):
            if held is not None and has_places(held, VOLUME):
                held.data = held.data.contiguous(memory_format=memory_format)
    return module


def channels_last(places: int) -> torch.memory_format:
    """The memory format with channels last of inputs with so many axes of places; of signals there is none."""
    return {PICTURE: torch.channels_last, VOLUME: torch.channels_last_3d}.get(places, torch.contiguous_format)


@torch.no_grad()
def _fold_norm(conv: Convolution, norm: Norm) -> Convolution:
    """A copy of a convolution that gives what the norm after it would."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    weight, bias = fuse_conv_bn_weights(
        conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
    )
    folded = copy.deepcopy(conv, {id(conv.weight): weight})
    folded.bias = bias
    return folded


def running_norms(module: nn.Module) -> list[nn.Module]:
    """Batch norms that normalise by running statistics, which buffers of theirs hold."""
    return [part for part in module.modules() if _is_norm(part)]


def trained_norms(module: nn.Module) -> list[nn.Module]:
    """Batch norms whose running statistics say something; where all means are 0 and variances 1, they were never set.

    Those of a network whose norms have been folded into its convolutions are never set.
    """
    return [part for part in running_norms(module) if _is_trained(part)]


class NormDistance:
    """Distances of the activations that came by, gathered norm by norm."""

    def __init__(self) -> None:
        self._sum: Tensor | None = None
        self._calls = 0

    @property
    def values(self) -> Tensor | None:
        """``(N,)``: each picture's mean distance over norms and channels, in standard deviations; None: none came.

        The distance of a channel is the Wasserstein distance of two normal distributions, of its values over the
        picture and of those in training: the root of the squared differences of their means and of their standard
        deviations, divided by the standard deviation in training.
        """
        return None if self._sum is None else self._sum / self._calls

    def add(self, norm: nn.Module, inputs: Tensor) -> None:
        """Take what a norm is given, ``(N, C, ...)``."""
        mean, variance, small = (
            _running_buffer(norm, "running_mean"),
            _running_buffer(norm, "running_var"),
            getattr(norm, "eps", 0.0),
        )
        deviation = (variance.double() + small).sqrt()
        flat = inputs.detach().double().flatten(2)
        apart = torch.hypot(flat.mean(dim=2) - mean, flat.std(dim=2, correction=0) - deviation) / deviation
        found = apart.mean(dim=1).cpu()
        self._sum = found if self._sum is None else self._sum + found
        self._calls += 1


@contextmanager
def watch_norms(module: nn.Module, places: int = PICTURE) -> Iterator[NormDistance]:
    """Inside, what the network's settled batch norms are given is measured; its hooks are gone afterwards.

    Args:
        module: The network.
        places: How many axes of places its input has: norms of anything else are left out.
    """
    distance = NormDistance()

    def see(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if inputs and has_places(inputs[0], places):
            distance.add(norm, inputs[0])

    handles = [norm.register_forward_pre_hook(see) for norm in trained_norms(module)]
    try:
        yield distance
    finally:
        for handle in handles:
            handle.remove()


def _is_norm(part: nn.Module) -> bool:
    frozen = type(part).__name__ == "FrozenBatchNorm2d"
    held = (getattr(part, name, None) for name in ("running_mean", "running_var"))
    return (isinstance(part, _BatchNorm) or frozen) and all(isinstance(each, Tensor) for each in held)


def _is_trained(part: nn.Module) -> bool:
    return bool(_running_buffer(part, "running_mean").any()) or bool((_running_buffer(part, "running_var") != 1).any())


def _running_buffer(part: nn.Module, name: str) -> Tensor:
    held = getattr(part, name)
    assert isinstance(held, Tensor)
    return held

"""A private copy of a network for many forwards: batch norm folded into convolutions, channels last."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, TypeAlias
from weakref import ref

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from cnnviz.probing.state import undisturbed

__all__ = ["Pair", "folded_copy", "noticing_pairs"]

Pair: TypeAlias = tuple[nn.Conv2d, nn.BatchNorm2d]


@contextmanager
def noticing_pairs(module: nn.Module) -> Iterator[list[Pair]]:
    """Run the network once inside; afterwards the list has the convolutions that a batch norm can be folded into.

    Those are the ones whose very output a batch norm was handed, both being run once; subclasses of either, which may
    do more, are left alone.

    Args:
        module: The network; it is in evaluation mode inside, and comes back as it was.
    """
    outputs: dict[int, tuple[nn.Conv2d, ref[Tensor]]] = {}
    found: list[Pair] = []
    calls: Counter[nn.Module] = Counter()

    def seen(part: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        calls[part] += 1
        if isinstance(part, nn.Conv2d) and isinstance(output, Tensor):
            outputs[id(output)] = part, ref(output)
        elif isinstance(part, nn.BatchNorm2d) and inputs and id(inputs[0]) in outputs and part.track_running_stats:
            conv, returned = outputs[id(inputs[0])]
            if returned() is inputs[0]:
                found.append((conv, part))

    pairs: list[Pair] = []
    with undisturbed(module), torch.no_grad(), ExitStack() as hooks:
        for part in module.modules():
            if type(part) in (nn.Conv2d, nn.BatchNorm2d):
                hooks.callback(part.register_forward_hook(seen).remove)
        yield pairs
    pairs += [(conv, norm) for conv, norm in found if calls[conv] == calls[norm] == 1]


def folded_copy(module: nn.Module, pairs: Sequence[Pair]) -> nn.Module:
    """A copy in evaluation mode, batch norms folded into the convolutions before them, in channels-last memory.

    The caller checks the copy's answers against the network's own: a convolution whose output something else reads
    would show there.

    Args:
        module: The network; it is left alone.
        pairs: Convolutions of the network, each with the batch norm that is folded into it.

    Returns:
        The copy, which takes inputs of any memory format.
    """
    replaced: dict[int, Any] = {}
    for conv, norm in pairs:
        replaced[id(conv)], replaced[id(norm)] = _folded(conv, norm), nn.Identity()
    clone = copy.deepcopy(module, replaced)
    for part in clone.modules():
        part.training = False
    return clone.requires_grad_(requires_grad=False).to(memory_format=torch.channels_last)


@torch.no_grad()
def _folded(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> nn.Conv2d:
    """A copy of a convolution that gives what the norm after it would."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    weight, bias = fuse_conv_bn_weights(
        conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
    )
    folded = copy.deepcopy(conv, {id(conv.weight): weight})
    folded.bias = bias
    return folded

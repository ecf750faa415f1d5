"""A private copy of a network for many forwards: batch norm folded into convolutions, channels last."""

from __future__ import annotations

import copy
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from cnnviz.probing.state import undisturbed

__all__ = ["folded_copy"]


def folded_copy(module: nn.Module, example: Tensor) -> tuple[nn.Module, Any]:
    """A copy in evaluation mode, batch norms folded into the convolutions before them, in channels-last memory.

    A batch norm is folded where one real forward hands it the very tensor that a convolution returned, both being
    run once; subclasses of either, which may do more, are left alone. The caller checks the copy's answers against
    the network's own: a convolution whose output something else reads would show there.

    Args:
        module: The network; it is left alone.
        example: One input ``(1, C, H, W)``.

    Returns:
        The copy, which takes inputs of any memory format; and what the network itself answers to the example.
    """
    clone = copy.deepcopy(module)
    for part in clone.modules():
        part.training = False
    pairs, answer = _pairs(clone, example)
    for conv_name, norm_name in pairs:
        conv, norm = clone.get_submodule(conv_name), clone.get_submodule(norm_name)
        assert isinstance(conv, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        _replace(clone, conv_name, fuse_conv_bn_eval(conv, norm))
        _replace(clone, norm_name, nn.Identity())
    return clone.requires_grad_(requires_grad=False).to(memory_format=torch.channels_last), answer


def _pairs(module: nn.Module, example: Tensor) -> tuple[list[tuple[str, str]], Any]:
    outputs: dict[int, tuple[str, Tensor]] = {}
    found: list[tuple[str, str]] = []
    calls: dict[str, int] = {}

    def watch(name: str) -> Any:
        def seen(part: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            calls[name] = calls.get(name, 0) + 1
            if type(part) is nn.Conv2d:
                outputs[id(output)] = name, output
            elif inputs and id(inputs[0]) in outputs and part.track_running_stats:
                found.append((outputs[id(inputs[0])][0], name))

        return seen

    with undisturbed(module), torch.no_grad(), ExitStack() as hooks:
        for name, part in module.named_modules():
            if type(part) in (nn.Conv2d, nn.BatchNorm2d):
                hooks.callback(part.register_forward_hook(watch(name)).remove)
        answer = module(example.clone())
    return [(conv, norm) for conv, norm in found if calls[conv] == calls[norm] == 1], answer


def _replace(module: nn.Module, name: str, part: nn.Module) -> None:
    parent, _, own = name.rpartition(".")
    setattr(module.get_submodule(parent), own, part)

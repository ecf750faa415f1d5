"""Torchvision's networks with random weights that are alive: every layer's output changes the logits."""

from __future__ import annotations

import os

import pytest
import torch
from torch import nn
from torchvision.models import get_model, get_model_weights

SIZES = {"alexnet": 128, "inception_v3": 139, "maxvit_t": 224, "vit_b_32": 64, "vit_l_32": 64, "vit_h_14": 28}


def size_of(name: str) -> int:
    """The side of a small input at which the network's last maps still have several places."""
    return SIZES.get(name, 32 if name.startswith("vit_") else 64)


def torchvision_net(
    name: str, *, dtype: torch.dtype = torch.float32, classes: int = 10, auxiliary: bool = False
) -> nn.Module:
    """A network of torchvision in evaluation mode, its random weights alive, for inputs of ``size_of(name)``.

    GoogLeNet and Inception can have their auxiliary heads, which only answer in training.
    """
    size = size_of(name)
    settings = {"num_classes": classes} | ({"image_size": size} if name.startswith("vit_") else {})
    if name in ("googlenet", "inception_v3"):
        settings |= {"init_weights": False, "aux_logits": auxiliary}
    net = get_model(name, weights=None, **settings).to(dtype)
    return enlivened(net, size)


def enlivened(net: nn.Module, size: int) -> nn.Module:
    """Layer scales at 1, zero weights drawn anew, batch norm's statistics those of noise."""
    with torch.no_grad():
        for name, weight in net.named_parameters():
            if name.endswith("layer_scale"):
                weight.fill_(1)
            elif weight.dim() > 1 and not weight.any():
                weight.normal_(0, 0.1)
    net.eval()
    norms = [part for part in net.modules() if isinstance(part, nn.BatchNorm2d)]
    if norms:
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum, norm.training = None, True
        with torch.no_grad():
            net(noise(4, size, next(net.parameters()).dtype))
    return net.eval()


def noise(count: int, size: int, dtype: torch.dtype = torch.float32, seed: int = 1) -> torch.Tensor:
    """Inputs ``(count, 3, size, size)`` of noise, with blotches so that places differ."""
    generator = torch.Generator().manual_seed(seed)
    fine = torch.randn(count, 3, size, size, generator=generator)
    coarse = torch.randn(count, 3, 4, 4, generator=generator)
    return (fine + 2 * nn.functional.interpolate(coarse, size=(size, size), mode="nearest")).to(dtype)


QUICK = (
    "convnext_tiny", "densenet121", "efficientnet_b0", "googlenet", "mnasnet0_5", "mobilenet_v2", "mobilenet_v3_small",
    "regnet_y_400mf", "resnet18", "shufflenet_v2_x0_5", "squeezenet1_1", "swin_t",
)  # fmt: skip
LARGE = 150e6
"""A network of so many weights takes gigabytes, and most of a minute where other work runs beside."""


def _weights(name: str) -> int:
    return int(get_model_weights(name).DEFAULT.meta["num_params"])


def marks_of(name: str) -> list[pytest.MarkDecorator]:
    """Few networks are tried every time, most are slow, the largest are tried where CNNVIZ_SWEEP asks for all."""
    large = _weights(name) >= LARGE and os.environ.get("CNNVIZ_SWEEP") != "all"
    reason = f"{name} has {_weights(name) / 1e6:.0f} million weights; CNNVIZ_SWEEP=all runs it too"
    return [*([] if name in QUICK else [pytest.mark.slow]), *([pytest.mark.skip(reason=reason)] if large else [])]

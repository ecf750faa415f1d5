"""Networks of signals, pictures and volumes that say the same where the further axes are one place long."""

from __future__ import annotations

import torch
from torch import nn

import cnnviz

CONVS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
NORMS = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
POOLS = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}
MEANS = {1: nn.AdaptiveAvgPool1d, 2: nn.AdaptiveAvgPool2d, 3: nn.AdaptiveAvgPool3d}


def small_network(places: int, channels: int = 2, flat: int = 0) -> nn.Sequential:
    """A float64 network with a norm, a pool and a stride, whose first ``flat`` axes of places nothing reaches across.

    The weights of any two with as many axes that are not flat are the same numbers.
    """

    def along(number: int, across: int) -> tuple[int, ...]:
        return (*(across for _ in range(flat)), *(number for _ in range(places - flat)))

    def conv(before: int, after: int, stride: int) -> nn.Module:
        return CONVS[places](before, after, along(3, 1), along(stride, 1), along(1, 0))

    torch.manual_seed(places - flat)
    net = nn.Sequential(
        conv(channels, 6, 1), NORMS[places](6), nn.ReLU(), POOLS[places](along(2, 1)), conv(6, 8, 1), nn.ReLU(),
        conv(8, 8, 2), nn.ReLU(), MEANS[places](1), nn.Flatten(), nn.Linear(8, 4),
    )  # fmt: skip
    norm = net[1]
    with torch.no_grad():
        norm.running_mean.normal_(0, 0.1)
        norm.running_var.uniform_(0.5, 1.5)
    return net.double().eval()


def model_of_places(places: int, size: tuple[int, ...], channels: int = 2, flat: int = 0, **more) -> cnnviz.Model:
    """The network, ready to be asked about inputs of a size."""
    return cnnviz.Model(small_network(places, channels, flat), input_size=size, mean=(0.0,), std=(1.0,), **more)


def noise_of(size: tuple[int, ...], channels: int = 2, count: int = 1) -> torch.Tensor:
    """Inputs ``(count, channels, *size)`` float64."""
    return torch.randn(count, channels, *size, generator=torch.Generator().manual_seed(3), dtype=torch.float64)

"""Receptive fields of networks of signals and volumes, against the support of gradients in which nothing can cancel."""

from __future__ import annotations

import copy
import itertools

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from cnnviz.engine.layers import observe_layers
from cnnviz.errors import UsageError

AVERAGES = {nn.MaxPool1d: nn.AvgPool1d, nn.MaxPool3d: nn.AvgPool3d}
AVERAGES |= {nn.AdaptiveMaxPool1d: nn.AdaptiveAvgPool1d, nn.AdaptiveMaxPool3d: nn.AdaptiveAvgPool3d}
FIRST = 2


class Resize(nn.Module):
    """An interpolation to a size, or by a factor."""

    def __init__(self, **how):
        super().__init__()
        self.how = how

    def forward(self, x):
        return functional.interpolate(x, **self.how)


class Residual(nn.Module):
    """What it holds, added to its input."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return x + self.inner(x)


def without_cancelling(net: nn.Module) -> nn.Module:
    """A copy with positive weights, and the mean for the maximum: each place that is read moves what reads it."""
    made = copy.deepcopy(net)
    for part in made.modules():
        for name, inner in list(part.named_children()):
            kind = AVERAGES.get(type(inner))
            if kind is not None and hasattr(inner, "output_size"):
                setattr(part, name, kind(inner.output_size))
            elif kind is not None:
                setattr(part, name, kind(inner.kernel_size, inner.stride, inner.padding, inner.ceil_mode))
    with torch.no_grad():
        for held in made.parameters():
            held.fill_(0.1)
    return made.double()


def seen_by(net: nn.Module, name: str, size: tuple[int, ...], place: tuple[int, ...]) -> tuple[int, ...] | None:
    """The box around all that moves the units at a place of a layer: firsts, then one past the lasts."""
    caught = {}
    part = dict(net.named_modules())[name]
    handle = part.register_forward_hook(lambda _part, _inputs, output: caught.update(output=output))
    leaf = torch.ones(1, 2, *size, dtype=torch.float64, requires_grad=True)
    net(leaf)
    handle.remove()
    value = caught["output"][(0, slice(None), *place)].sum()
    (gradient,) = torch.autograd.grad(value, leaf, allow_unused=True)
    where = [] if gradient is None else torch.nonzero(gradient[0].abs().sum(dim=0)).tolist()
    if not where:
        return None
    along = list(zip(*where, strict=True))
    return (*map(min, along), *(max(each) + 1 for each in along))


SIGNALS = {
    "strides and dilations": lambda: nn.Sequential(
        nn.Conv1d(2, 3, 5, 2, 2), nn.MaxPool1d(3, 2, 1), nn.Conv1d(3, 3, 3, 1, 2, dilation=2), nn.AvgPool1d(2)
    ),
    "paddings": lambda: nn.Sequential(
        nn.ReflectionPad1d((3, 1)), nn.Conv1d(2, 3, 4), nn.ReplicationPad1d((0, 2)), nn.ConstantPad1d((1, 4), 0.0),
        nn.Conv1d(3, 3, 3, 2), nn.ConstantPad1d((-1, -2), 0.0), nn.Conv1d(3, 3, 3),
    ),
    "up again": lambda: nn.Sequential(
        nn.Conv1d(2, 3, 3, 2, 1), nn.MaxPool1d(2), nn.ConvTranspose1d(3, 3, 4, 2, 1), Resize(scale_factor=2),
        nn.Conv1d(3, 3, 3, padding=1), Resize(size=61, mode="linear"), nn.ConvTranspose1d(3, 3, 3, 3),
    ),
    "corners aligned, exact and adaptive": lambda: nn.Sequential(
        nn.Conv1d(2, 3, 3, 2), Resize(size=40, mode="linear", align_corners=True), nn.AdaptiveAvgPool1d(17),
        Resize(scale_factor=1.7, mode="nearest-exact"), nn.AdaptiveMaxPool1d(9), nn.Conv1d(3, 3, 2),
    ),
    "residual": lambda: nn.Sequential(
        nn.Conv1d(2, 3, 3, 2, 1), Residual(nn.Sequential(nn.Conv1d(3, 3, 7, padding=3), nn.ReLU())), nn.LPPool1d(2, 3)
    ),
}  # fmt: skip
VOLUMES = {
    "strides and dilations": lambda: nn.Sequential(
        nn.Conv3d(2, 3, (1, 3, 5), (1, 2, 1), (0, 1, 2)), nn.MaxPool3d((1, 2, 2)),
        nn.Conv3d(3, 3, 3, 1, (2, 1, 0), dilation=(2, 1, 1)), nn.AvgPool3d((2, 1, 2)),
    ),
    "paddings": lambda: nn.Sequential(
        nn.ReflectionPad3d((1, 0, 2, 1, 0, 2)), nn.Conv3d(2, 3, 3), nn.ReplicationPad3d((0, 1, 1, 0, 2, 0)),
        nn.ConstantPad3d((1, 0, 0, 2, 0, 1), 0.0), nn.Conv3d(3, 3, 2, 2),
    ),
    "up again": lambda: nn.Sequential(
        nn.Conv3d(2, 3, 3, (1, 2, 2), 1), nn.ConvTranspose3d(3, 3, (1, 2, 4), (1, 2, 2), (0, 0, 1)),
        Resize(scale_factor=(2.0, 1.0, 0.5)), Resize(size=(9, 13, 7), mode="trilinear"), nn.Conv3d(3, 3, 2),
    ),
    "corners aligned, exact and adaptive": lambda: nn.Sequential(
        nn.Conv3d(2, 3, 2), Resize(size=(7, 9, 6), mode="trilinear", align_corners=True),
        nn.AdaptiveAvgPool3d((3, 4, 5)), Resize(size=(4, 8, 7), mode="nearest-exact"), nn.AdaptiveMaxPool3d((2, 5, 3)),
    ),
    "residual": lambda: nn.Sequential(
        nn.Conv3d(2, 3, 3, 2, 1), Residual(nn.Sequential(nn.Conv3d(3, 3, 3, padding=1), nn.ReLU()))
    ),
}  # fmt: skip
CASES = [(kind, name, size) for kind, size in (("signal", (59,)), ("volume", (8, 11, 10)))
         for name in (SIGNALS if kind == "signal" else VOLUMES)]  # fmt: skip


def some_places(grid):
    """Corners, the middle and a place beside each; of a signal all."""
    along = [range(side) if len(grid) == 1 else sorted({0, side // 2, side - 1}) for side in grid]
    return list(itertools.product(*along))


@pytest.mark.parametrize(("kind", "name", "size"), CASES, ids=[f"{kind}: {name}" for kind, name, _ in CASES])
def test_the_box_is_the_gradients_support(kind, name, size):
    net = (SIGNALS if kind == "signal" else VOLUMES)[name]().double().eval()
    oracle, checked = without_cancelling(net), 0
    layers = observe_layers(net, torch.zeros(1, 2, *size, dtype=torch.float64))
    for layer in layers.values():
        assert layer.field.kind == "spatial", (layer.name, layer.field)
        assert layer.field.grid == layer.arrangement.grid == layer.shape[1:]
        for place in some_places(layer.arrangement.grid):
            seen, found = seen_by(oracle, layer.name, size, place), layer.field.box(*place, *size)
            if seen is None:
                count = len(size)
                assert any(first == last for first, last in zip(found[:count], found[count:], strict=True))
            else:
                assert found == seen, (layer.name, place)
            checked += 1
    assert checked >= len(layers) * 8


def test_a_box_in_seconds_and_in_millimetres():
    wave = observe_layers(nn.Sequential(nn.Conv1d(2, 3, 5, 2)), torch.zeros(1, 2, 21))["0"].field
    assert wave.box(3, 21) == (6, 11)
    assert wave.box(3, 21, spacing=1 / 250) == pytest.approx((0.024, 0.044))
    scan = observe_layers(nn.Sequential(nn.Conv3d(2, 3, (1, 3, 3), (1, 2, 2))), torch.zeros(1, 2, 4, 9, 9))["0"].field
    assert scan.box(2, 1, 3, 4, 9, 9) == (2, 2, 6, 3, 5, 9)
    assert scan.box(2, 1, 3, 4, 9, 9, spacing=(5.0, 0.5, 0.5)) == (10.0, 1.0, 3.0, 15.0, 2.5, 4.5)
    assert scan.box(2, 1, 3, 4, 9, 9, spacing=2.0) == tuple(2.0 * edge for edge in (2, 2, 6, 3, 5, 9))
    assert scan.centre(2, 1, 3) == (2.0, 3.0, 7.0)
    with pytest.raises(UsageError, match="a place and a size of 3 numbers each; got 4"):
        scan.box(2, 1, 4, 9)


def test_a_mean_over_all_places_sees_the_whole_signal_and_the_whole_volume():
    for net, size in ((nn.AdaptiveAvgPool1d(1), (30,)), (nn.AdaptiveAvgPool3d(1), (4, 5, 6))):
        field = observe_layers(nn.Sequential(net, nn.Flatten()), torch.zeros(1, 2, *size))["1"].field
        assert (field.kind, field.because, field.spans) == ("whole", "global pooling", ())
        assert np.array_equal(field.box(*(0 for _ in size), *size), (*(0 for _ in size), *size))

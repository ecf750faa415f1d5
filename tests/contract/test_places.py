"""Places of one, two and three axes: every method gives a signal what it gives a picture one pixel high.

A network of signals ``(N, C, T)`` is one of pictures ``(N, C, 1, T)`` with the same weights, and one of volumes one
slice deep one of pictures; so whatever is said of the one has to be said of the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import cnnviz
from cnnviz.methods.units.projections import project_units
from tests.support.asking import EVERYTHING, ask, method_of, state_of

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
POOLS = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)
MEANS = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)
FLAT = 1
"""The length of the axis that the one form has and the other has not."""

EXEMPT = {
    "maximize": "it starts from noise, and a canvas one pixel high has other waves than one without that axis",
    "rise": "its grid of random cells has as many cells along an axis of one pixel as along any other",
}
"""Methods that are no question of the same numbers, and why."""

QUICK = {
    "integrated_gradients": {"steps": 8},
    "smoothgrad": {"samples": 3},
    "smooth_gradcam_plusplus": {"samples": 3},
    "occlusion": {"window": 8, "stride": 4},
    "feature_occlusion": {"window": 3, "stride": 1},
    "patches": {"layer": "4", "show": 3, "deconvnet": True},
    "filters": {"layer": "4"},
    "captum": {"algorithm": "DeepLift"},
}
"""Settings that keep it short, and those a method cannot do without."""


def network(places: int, flat: bool, channels: int = 2) -> nn.Module:
    """A small network with so many axes of places; with ``flat`` the first of them is one pixel long."""
    torch.manual_seed(7)
    at = places - 1

    def along(length: int, first: int) -> tuple[int, ...]:
        return (first, *(length,) * (places - 1)) if flat else (length,) * places

    def convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Module:
        made = CONVOLUTIONS[at](inputs, outputs, along(3, 1), along(stride, 1), along(1, 0))
        with torch.no_grad():
            made.weight.copy_(torch.randn(outputs, inputs, 3 ** (places - flat)).reshape(made.weight.shape) * 0.4)
            made.bias.copy_(torch.randn(outputs) * 0.1)
        return made

    norm = NORMS[at](6)
    norm.running_mean.copy_(torch.randn(6) * 0.2)
    norm.running_var.copy_(torch.rand(6) + 0.5)
    net = nn.Sequential(
        convolution(channels, 6), norm, nn.ReLU(), POOLS[at](along(2, 1)), convolution(6, 8), nn.ReLU(),
        convolution(8, 8, 2), nn.ReLU(), MEANS[at](1), nn.Flatten(), nn.Linear(8, 4),
    )  # fmt: skip
    with torch.no_grad():
        net[-1].weight.copy_(torch.randn(4, 8))
        net[-1].bias.copy_(torch.randn(4) * 0.1)
    return net.eval()


@dataclass(frozen=True)
class Pair:
    """One network in two forms, the second with an axis more, of one pixel; and its inputs in both."""

    places: int
    size: tuple[int, ...]

    def forms(self, kind: torch.dtype) -> tuple[cnnviz.Model, cnnviz.Model]:
        """The pair, opened."""
        return self.open(self.places, kind, flat=False), self.open(self.places + 1, kind, flat=True)

    def open(self, places: int, kind: torch.dtype, *, flat: bool) -> cnnviz.Model:
        size = (FLAT, *self.size) if flat else self.size
        # a network of pictures is given no colours' statistics, of two channels
        return cnnviz.Model(
            network(places, flat).to(kind), input_size=size, mean=(0.0, 0.0), std=(1.0, 1.0), name="net"
        )

    def inputs(self, kind: torch.dtype) -> tuple[Tensor, Tensor]:
        values = torch.randn(3, 2, *self.size, generator=torch.Generator().manual_seed(5)).to(kind)
        return values, values[:, :, None]


SIGNAL, SLICE = Pair(1, (40,)), Pair(2, (16, 20))
PAIRS = {"signals as pictures one pixel high": SIGNAL, "pictures as volumes one slice deep": SLICE}
TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-5}


def values_of(found: Any) -> np.ndarray[Any, Any]:
    """All numbers of an answer."""
    if isinstance(found, cnnviz.Patches):
        return np.concatenate([np.ravel(found.top.values), np.ravel(found.top.projections), found.means])
    return np.asarray(found.values if hasattr(found, "values") else found)


def assert_alike(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any], tolerance: float) -> None:
    """The second has the first's numbers, and an axis of one pixel at most."""
    assert [side for side in one.shape if side != FLAT] == [side for side in other.shape if side != FLAT]
    flat = other.reshape(one.shape)
    assert np.array_equal(np.isnan(one), np.isnan(flat))
    largest = np.nanmax(np.abs(one))
    assert largest > 0
    assert np.nanmax(np.abs(one - flat)) <= tolerance * largest


def asked(name: str, model: cnnviz.Model, inputs: Tensor, pair: Pair, *, flat: bool) -> Any:
    """A method's answer, with windows of one pixel along the axis of one pixel."""
    given = {key: value for key, value in QUICK.get(name, {}).items() if key in method_of(name).parameters}
    for key in {"window", "stride"} & given.keys():
        given[key] = (FLAT, *(given[key],) * pair.places) if flat else (given[key],) * pair.places
    return ask(name, model, inputs, 1 if "target" in method_of(name).needs else None, **given)


BESIDES = {
    "effective_field": lambda model, inputs: cnnviz.effective_field(model, "4", inputs).values,
    "projections of units": lambda model, inputs: project_units(model, inputs, "4", "0-3", batch_size=2).values,
    "activations of projections": lambda model, inputs: (
        project_units(model, inputs, "6", None, batch_size=2).activations
    ),
    "rank_layers": lambda model, inputs: cnnviz.rank_layers(model, inputs[:1]).evidence,
    "compare": lambda model, inputs: np.stack(
        [maps.values for maps in cnnviz.compare(model, inputs, ("gradcam", "layercam")).panels[0].maps.values()]
    ),
    "a unit at its largest place": lambda model, inputs: cnnviz.gradcam(model, inputs, "6:2", layer="4").values,
    "all places of a unit's layer": lambda model, inputs: cnnviz.saliency(model, inputs, "6:2").values,
}
"""What is no method of the catalogue, and other ways of asking those that are."""


@pytest.mark.parametrize("kind", [torch.float64, torch.float32], ids=["double", "single"])
@pytest.mark.parametrize("name", [name for name in EVERYTHING if name not in EXEMPT])
@pytest.mark.parametrize("which", PAIRS)
def test_an_axis_of_one_pixel_changes_nothing(which, name, kind):
    pair = PAIRS[which]
    (first, second), (one, other) = pair.forms(kind), pair.inputs(kind)
    before = state_of(first.module), state_of(second.module)
    found, same = asked(name, first, one, pair, flat=False), asked(name, second, other, pair, flat=True)
    assert (state_of(first.module), state_of(second.module)) == before
    assert_alike(values_of(found), values_of(same), TOLERANCE[kind])


@pytest.mark.parametrize("name", BESIDES)
@pytest.mark.parametrize("which", PAIRS)
def test_nor_does_it_beside_the_catalogue(which, name):
    pair = PAIRS[which]
    (first, second), (one, other) = pair.forms(torch.float64), pair.inputs(torch.float64)
    assert_alike(BESIDES[name](first, one), BESIDES[name](second, other), TOLERANCE[torch.float64])


@pytest.mark.parametrize("which", PAIRS)
def test_layers_see_the_same_but_for_the_axis_of_one_pixel(which):
    pair = PAIRS[which]
    first, second = pair.forms(torch.float64)
    layers, others = first.layers, second.layers
    assert list(layers) == list(others)
    placed = [name for name, layer in layers.items() if layer.field is not None and layer.field.placed]
    assert len(placed) == len(layers) - 3  # all up to the mean over the places
    for name in placed:
        assert layers[name].arrangement.grid == others[name].arrangement.grid[1:]
        assert layers[name].field.spans == others[name].field.spans[1:]
    assert cnnviz.choose_layer(first) == cnnviz.choose_layer(second)


@pytest.mark.parametrize("which", PAIRS)
def test_patches_are_of_the_same_images_at_the_same_places(which):
    pair = PAIRS[which]
    found, same = (
        asked("patches", model, inputs, pair, flat=bool(flat))
        for flat, (model, inputs) in enumerate(zip(pair.forms(torch.float32), pair.inputs(torch.float32), strict=True))
    )
    assert np.array_equal(found.top.images, same.top.images)
    assert np.array_equal(found.top.positions, same.top.positions[..., 1:])
    assert not same.top.positions[..., 0].any()
    kept = np.delete(same.top.boxes, [0, same.top.boxes.shape[-1] // 2], axis=-1)
    assert np.array_equal(found.top.boxes, kept)
    assert any("were run again and gave the index's values exactly" in check for check in found.checks)


def test_every_exemption_is_of_a_method_that_there_is_and_says_why():
    assert EXEMPT.keys() <= set(EVERYTHING)
    assert all(len(why.split()) > 5 for why in EXEMPT.values())

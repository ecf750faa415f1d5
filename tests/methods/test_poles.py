"""A channel that makes much of a map because a denominator is near zero is named."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import cnnviz
from cnnviz.methods.cams.gradcam import bound_normalised_activation, bound_shares
from cnnviz.methods.cams.gradcam_variants import bound_averaged_shares
from cnnviz.methods.cams.poles import note_poles
from tests.support.networks import Small, model_of


class Cancelling(nn.Module):
    """Channel 1 of the layer is a difference that adds up to nearly nothing; only one of its places counts."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 1, bias=False)
        self.conv.weight.data = torch.tensor([1.0, 1.0, 0.5]).view(3, 1, 1, 1)
        self.register_buffer("shift", torch.tensor([2.0, 0.0, 2.0]).view(1, 3, 1, 1))
        self.layer = nn.Identity()
        self.register_buffer("counts", torch.ones(1, 3, 4, 4))
        self.counts[:, 1] = 0
        self.counts[:, 1, 0, 0] = 1

    def forward(self, x):
        summed = (self.layer(self.conv(x) + self.shift) * self.counts).sum((2, 3))
        return torch.stack([summed.sum(1), -summed.sum(1)], 1)


def picture():
    """Its values add up to a thousandth."""
    one = torch.tensor([1.0, -1.0] * 8).view(1, 1, 4, 4)
    one[..., 0, 0] += 1e-3
    return one


def poles(found):
    return [check for check in found.checks if "a numerical artefact" in check]


def test_xgradcam_names_the_channel():
    model = model_of(Cancelling(), mean=(0.0,), std=(1.0,), input_size=4, channels=1, labels=None)
    found = cnnviz.xgradcam(model, picture(), 0, layer="layer")
    (said,) = poles(found)
    assert said.startswith("channel 1 alone makes ")
    weight = (1 * 1.001) / 1e-3  # gradient times activation at the one place that counts, over the channel's sum
    values = found.values[0]
    row, column = np.unravel_index(np.abs(values).argmax(), values.shape)
    share = weight * abs(float(picture()[0, 0, row, column])) / abs(values[row, column])
    assert f" {share:.0%} " in said
    assert not poles(cnnviz.gradcam(model, picture(), 0, layer="layer"))


@pytest.mark.parametrize("name", ["xgradcam", "gradcam_plusplus", "smooth_gradcam_plusplus"])
def test_rectified_activations_have_no_poles(name, inputs):
    assert not poles(getattr(cnnviz, name)(model_of(Small()), inputs, 1))


def test_shares_near_their_pole():
    """``2 + S g`` is 0.02 for the first channel and 4 for the second."""
    activations = torch.tensor([-1.98, 2.0]).view(1, 2, 1, 1)
    gradients = torch.ones(1, 2, 1, 1)
    for weights, bounds in (
        bound_shares(activations, gradients),
        bound_averaged_shares(activations, [gradients, gradients], 1),
    ):
        assert weights[0].tolist() == pytest.approx([50, 0.25], rel=1e-4)
        assert bounds[0].tolist() == [1, 1]
        maps = (weights[:, :, None, None] * activations).sum(1)
        (said,) = note_poles(maps, activations.to(maps), weights, bounds)
        assert said.startswith("channel 0 alone makes 101% ")


def test_a_channel_that_cancels_with_its_gradient_is_no_pole():
    """Where the gradient is the same everywhere the channel's sum cancels: the weight is the gradient itself."""
    activations = torch.tensor([1.0, -0.999]).view(1, 1, 1, 2)
    weights, bounds = bound_normalised_activation(activations, torch.full((1, 1, 1, 2), 3.0))
    assert float(weights[0, 0]) == pytest.approx(3.0, rel=1e-3)
    assert note_poles(weights[:, :, None, None][:, 0] * activations[:, 0], activations, weights, bounds) == ()

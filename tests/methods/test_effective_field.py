"""Effective receptive fields, against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import cnnviz
from cnnviz.errors import ParameterError, UnknownNameError, UsageError
from tests.support.asking import state_of
from tests.support.networks import Small, model_of


class Sums(nn.Module):
    """Two convolutions of ones: the unit's gradient is a pyramid, whatever the input."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = (nn.Conv2d(1, 1, 3, padding=1, bias=False) for _ in range(2))
        for part in (self.one, self.two):
            nn.init.ones_(part.weight)
        self.fc = nn.Linear(1, 5)

    def forward(self, x):
        return self.fc(self.two(self.one(x)).mean(dim=(2, 3)))


def sums():
    return model_of(Sums().double(), input_size=15, channels=1)


def test_a_linear_networks_field_is_its_kernel():
    found = cnnviz.effective_field(sums(), "two")
    line = np.array([1, 2, 3, 2, 1])
    wanted = np.zeros((15, 15))
    wanted[5:10, 5:10] = line[:, None] * line
    np.testing.assert_allclose(np.asarray(found), wanted, rtol=1e-6)
    assert found.place == found.centre == (7, 7)
    assert found.size == 5
    assert (found.radius(9 / 81), found.radius(0.5), found.radius(1)) == (0, np.sqrt(2), np.sqrt(8))
    assert found.inputs == 20
    assert found.checks == ()


def test_only_what_is_above_the_threshold_counts():
    model = sums()
    with torch.no_grad():
        model.module.one.weight[0, 0, 0] = 0.04
    found = cnnviz.effective_field(model, "one")
    assert found.size == pytest.approx(np.sqrt(6))


def test_the_mean_over_pictures_is_the_mean_of_each(photo):
    model = model_of(Small())
    inputs = torch.rand(5, 3, 32, 32)
    whole = cnnviz.effective_field(model, "relu2", inputs, batch_size=2)
    single = [cnnviz.effective_field(model, "relu2", one[None]) for one in inputs]
    np.testing.assert_allclose(whole.values, np.mean([one.values for one in single], axis=0), rtol=1e-5)
    assert "over 5 images; use at least 20 for a stable mean" in whole.checks
    assert cnnviz.effective_field(model, "relu2", photo).inputs == 1


def test_nothing_is_moved_beyond_the_field_and_the_seed_decides():
    model = model_of(Small())
    one, again, other = (cnnviz.effective_field(model, "conv2", count=4, seed=seed) for seed in (1, 1, 2))
    top, left, bottom, right = one.field.box(*one.place, 32, 32)
    outside = np.ones((32, 32), bool)
    outside[top:bottom, left:right] = False
    assert not one.values[outside].any()
    assert one.values.any()
    assert np.array_equal(one.values, again.values)
    assert not np.array_equal(one.values, other.values)


def test_channels_that_always_add_up_to_the_same_are_counted_with_both_signs():
    """After a layer norm the sum of a place's channels has no gradient but rounding."""

    class Normed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm, self.fc = nn.Conv2d(3, 6, 3), nn.LayerNorm(6), nn.Linear(6, 5)

        def forward(self, x):
            return self.fc(self.norm(self.conv(x).permute(0, 2, 3, 1)).mean(dim=(1, 2)))

    net, inputs = Normed(), torch.randn(20, 3, 9, 9)
    found = cnnviz.effective_field(model_of(net, input_size=9), "norm", inputs)
    leaf = inputs.clone().requires_grad_()
    signs = torch.tensor([1.0, -1, 1, -1, 1, -1])
    (net.norm(net.conv(leaf).permute(0, 2, 3, 1))[:, 3, 3] * signs).sum().backward()
    np.testing.assert_allclose(found.values, leaf.grad.abs().sum(dim=1).mean(dim=0).numpy(), rtol=1e-5)
    assert found.values.max() > 1e-2
    assert found.checks == ("norm's channels add up to the same whatever the input: every other one is taken away",)
    before = cnnviz.effective_field(model_of(net, input_size=9), "conv", inputs)
    assert before.checks == ()


def test_it_says_and_saves_itself(tmp_path):
    found = cnnviz.effective_field(sums())
    assert found.layer == "two"
    said = found.describe()
    assert (said["size"], said["centre"], said["place"]) == (5, [7, 7], [7, 7])
    with np.load(found.save(tmp_path / "field.npz")) as saved:
        assert np.array_equal(saved["values"], found.values)
    assert found.save(tmp_path / "field.png").stat().st_size > 1000
    assert found._repr_png_().startswith(b"\x89PNG")


def test_what_cannot_be_asked():
    model = model_of(Small())
    with pytest.raises(UnknownNameError):
        cnnviz.effective_field(model, "conv9")
    with pytest.raises(UsageError, match="no spatial extent"):
        cnnviz.effective_field(model, "fc")
    with pytest.raises(ParameterError, match="count is at least 1"):
        cnnviz.effective_field(model, count=0)


def test_the_network_comes_back_as_it_was():
    net = Small().train()
    before = state_of(net)
    cnnviz.effective_field(model_of(net), "conv1", count=2)
    assert state_of(net) == before


def test_gradients_of_opposite_signs_do_not_cancel():
    model = model_of(nn.Sequential(nn.Conv2d(2, 1, 3, padding=1, bias=False)).double(), input_size=7, channels=2)
    with torch.no_grad():
        model.module[0].weight[0, 0] = torch.arange(9.0).view(3, 3) - 4
        model.module[0].weight[0, 1] = 4 - torch.arange(9.0).view(3, 3)
    wanted = np.zeros((7, 7))
    wanted[2:5, 2:5] = 2 * np.abs(np.arange(9.0).reshape(3, 3) - 4)
    np.testing.assert_allclose(cnnviz.effective_field(model, "0").values, wanted, rtol=1e-6)


def test_the_drawing_is_cropped_to_the_field_and_outlines_it():
    found = cnnviz.effective_field(sums(), "two")
    assert found.box == (5, 5, 10, 10)
    assert found.window == (slice(4, 11), slice(4, 11))
    drawn = found.pixels
    factor = drawn.shape[1] // 7
    assert drawn.shape[1] == 7 * factor >= 240
    outlined = np.argwhere((drawn == (0, 255, 255)).all(axis=2))
    assert (outlined.min(axis=0) == factor).all()
    assert (outlined.max(axis=0) == 6 * factor - 1).all()
    bar = (drawn[7 * factor :] == 32).all(axis=2).sum(axis=1).max()
    assert bar == found.scale_bar * factor == 2 * factor
    sheet = found.grid().sheet
    assert sheet.title.startswith("Effective receptive field \N{MIDDLE DOT} ")
    assert sheet.rows[0][0].caption == (
        "unit 7,7: 5 px; half the sensitivity within 1 px\noutline: theoretical field, 5 x 5 px\n"
        "scale bar: 2 px of the input"
    )

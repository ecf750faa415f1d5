"""RISE: masks from a seed, streamed sums, a standard error that is one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import cnnviz
from cnnviz.errors import ParameterError
from cnnviz.methods.occlusion.random_masks import RandomMasks, WeighedMean
from tests.support.networks import Small, model_of


def test_every_mask_depends_on_the_seed_and_its_number_alone():
    drawn = RandomMasks((20, 31), 5, 0.5, seed=7)
    whole = drawn.masks(slice(0, 9))
    assert whole.shape == (9, 1, 20, 31)
    assert torch.equal(torch.cat([drawn.masks(slice(0, 4)), drawn.masks(slice(4, 9))]), whole)
    assert not torch.equal(RandomMasks((20, 31), 5, 0.5, seed=8).masks(slice(0, 9)), whole)
    assert 0 <= whole.min() < 0.01
    assert 0.99 < whole.max() <= 1


@pytest.mark.parametrize("visible", [0.2, 0.5])
def test_every_place_is_visible_equally_often(visible):
    masks = RandomMasks((24, 24), 4, visible, seed=0).masks(slice(0, 4000))
    assert (masks.mean(dim=0) - visible).abs().max() < 0.04


def test_sums_are_those_of_all_masks_at_once():
    masks = torch.rand(40, 5, 6, dtype=torch.float64)
    scores = torch.randn(40, 2, dtype=torch.float64) * 0.1 + 3
    mean = WeighedMean(torch.full((2,), 3.0, dtype=torch.float64), (5, 6))
    for some in torch.arange(40).split(7):
        mean.add(scores[some], masks[some])
    values, errors = mean.above_all()
    weight = masks.sum(dim=0)
    shown = torch.einsum("nt,nhw->thw", scores, masks) / weight
    overall = scores.mean(dim=0)[:, None, None]
    assert torch.allclose(values, shown - overall)
    every = scores.T[:, :, None, None]
    parts = masks * (every - shown[:, None]) / weight - (every - overall[:, None]) / 40
    assert torch.allclose(errors, (parts**2).sum(dim=1).sqrt())


def test_it_converges_within_its_standard_error(inputs):
    model = model_of(Small())
    few, more, many = (
        cnnviz.rise(model, inputs[:1], 1, masks=masks, cells=4, seed=seed, score="logit")[0]
        for masks, seed in ((100, 0), (400, 1), (1600, 2))
    )
    assert few.spread.mean() / many.spread.mean() == pytest.approx(4, rel=0.15)
    for one in (few, more):
        apart = (one.values - many.values) / np.hypot(one.spread, many.spread)
        assert np.sqrt((apart**2).mean()) < 2
    assert (
        f"largest standard error: {100 * few.spread.max() / np.ptp(few.values):.1f}% of the map's range" in few.checks
    )


def test_a_constant_network_has_a_map_of_zeros(inputs):
    net = Small()
    nn.init.zeros_(net.fc.weight)
    found = cnnviz.rise(model_of(net), inputs[:1], 1, masks=50)
    assert not found.values.any()
    assert found[0].blank


def test_the_batch_size_and_the_company_do_not_matter(small, inputs):
    whole = cnnviz.rise(small, [inputs[0], inputs[0], inputs[1]], [0, 1, 1], masks=60, batch_size=16)
    alone = cnnviz.rise(small, inputs[0], 1, masks=60, batch_size=7)
    assert np.allclose(whole.values[1], alone.values[0], atol=1e-6)
    assert not np.allclose(whole.values[1], cnnviz.rise(small, inputs[0], 1, masks=60, seed=1).values[0], atol=1e-6)


def test_the_baseline_matters_and_too_many_cells_are_refused(small, inputs):
    maps = [
        cnnviz.rise(small, inputs[0], 1, masks=40, baseline=name).values for name in ("mean", "black", "blur", "noise")
    ]
    assert len({each.tobytes() for each in maps}) == 4
    with pytest.raises(ParameterError, match="cells must be at most 32"):
        cnnviz.rise(small, inputs, cells=33)


def test_the_grid_of_cells_lies_elsewhere_for_every_mask():
    """Moved by 0 to 11 of a cell's 15 pixels, each place has the mean variance of what then lies there."""
    masks = RandomMasks((48, 48), 4, 0.5, seed=0).masks(slice(0, 4000))
    along = (np.arange(48)[:, None] + np.arange(12) + 0.5) / 15 - 0.5
    share = np.where((along >= 0) & (along <= 3), along % 1, 0)
    squares = ((1 - share) ** 2 + share**2).mean(axis=1)
    expected = 0.25 * squares[:, None] * squares
    assert np.abs(masks[:, 0].var(dim=0).numpy() / expected - 1).max() < 0.1


def test_of_a_linear_network_it_is_the_weighed_mean_of_what_the_masks_show():
    net = nn.Sequential(nn.Flatten(), nn.Linear(12 * 12, 2)).double()
    model = cnnviz.Model(net, mean=(0.4,), std=(0.5,), input_size=12, channels=1)
    image = torch.randn(1, 1, 12, 12, dtype=torch.float64)
    found = cnnviz.rise(model, image, 1, masks=50, cells=3, score="logit", seed=3)
    masks = RandomMasks((12, 12), 3, 0.5, seed=3).masks(slice(0, 50))[:, 0].double()
    with torch.no_grad():
        scores = net(masks[:, None] * image)[:, 1]
    expected = torch.einsum("n,nhw->hw", scores, masks) / masks.sum(dim=0) - scores.mean()
    assert np.allclose(found.values[0], expected.numpy(), atol=1e-6)

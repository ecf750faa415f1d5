"""The grid pointing game, on a network whose classes are the colours of its pictures."""

import numpy as np
import pytest
import torch
from torch import nn

import cnnviz
from cnnviz import Model
from cnnviz.errors import ExplanationError, ParameterError, UsageError
from cnnviz.evaluation.metric import load_metric
from cnnviz.evaluation.mosaics import build_mosaics, find_tiles, grid_pointing, gridpg, share_by_cell

SIDE = 8
COLOURS = torch.eye(4)[[0, 1, 2, 3, 0, 1]]
STRENGTHS = torch.tensor([9.0, 8.0, 7.0, 6.0, 5.0, 0.1])
"""Six pictures of four classes; the network is not sure about the last."""


class Colours(nn.Module):
    """The logit of a class is the mean of its channel."""

    def forward(self, x):
        return x.mean(dim=(2, 3))


class FixedSize(Colours):
    """It takes one size only."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4 * SIDE * SIDE, 4)

    def forward(self, x):
        return super().forward(x) + 0 * self.fc(x.flatten(1))


def model_of(module=None, **given):
    return Model(module or Colours(), input_size=SIDE, channels=4, mean=(0,) * 4, std=(1,) * 4, name="colours", **given)


def pictures():
    texture = 1 + 0.1 * torch.rand(6, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    return COLOURS[:, :, None, None] * STRENGTHS[:, None, None, None] * texture


def right(_model, inputs, targets, _seed):
    """The channel of the class."""
    return np.stack([inputs[row, target.index].numpy() for row, target in enumerate(targets)])


def everywhere(_model, inputs, _targets, _seed):
    return np.ones((len(inputs), *inputs.shape[2:]))


def negative(model, inputs, targets, seed):
    return -right(model, inputs, targets, seed)


def random(_model, inputs, _targets, seed):
    return np.random.default_rng(seed).random((len(inputs), *inputs.shape[2:]))


def saliency(model, inputs, targets, _seed):
    return cnnviz.saliency(model, inputs, targets).heatmaps().upsampled()


def test_shares_of_cells_are_those_of_positive_values():
    values = np.zeros((4, 4), np.float32)
    values[0, 0], values[1, 3], values[2, 1], values[3, 3] = 3, 1, -5, np.nan
    assert share_by_cell(values, 2).tolist() == [0.75, 0.25, 0, 0]
    assert share_by_cell(np.ones((6, 9), np.float32), 3).tolist() == pytest.approx([1 / 9] * 9)
    for blank in (np.zeros((4, 4)), -np.ones((4, 4)), np.full((4, 4), np.nan)):
        assert np.isnan(share_by_cell(blank.astype(np.float32), 2)).all()


def test_tiles_are_pictures_that_the_network_is_sure_about():
    tiles = find_tiles(model_of(), pictures())
    assert [tile.row for tile in tiles] == [0, 1, 2, 3, 4]
    assert [tile.target.index for tile in tiles] == [0, 1, 2, 3, 0]
    shares = pictures().mean(dim=(2, 3)).double().softmax(dim=1).max(dim=1).values
    assert [tile.probability for tile in tiles] == pytest.approx(shares[:5].tolist())
    assert [tile.name for tile in tiles[:2]] == ["input 1", "input 2"]
    assert len(find_tiles(model_of(), pictures(), probability=0.1)) == 6
    assert len(find_tiles(model_of(), pictures(), probability=float(shares[3]) + 1e-6)) == 3


def test_mosaics_hold_different_classes_and_differ():
    tiles = find_tiles(model_of(), pictures())
    mosaics = build_mosaics(tiles, 12, seed=1)
    assert len({mosaic.names for mosaic in mosaics}) == 12
    for mosaic in mosaics:
        assert len({tile.target.index for tile in mosaic.tiles}) == 4
        inputs = mosaic.inputs
        assert inputs.shape == (1, 4, 2 * SIDE, 2 * SIDE)
        for cell, tile in enumerate(mosaic.tiles):
            top, left = SIDE * (cell // 2), SIDE * (cell % 2)
            assert torch.equal(inputs[0, :, top : top + SIDE, left : left + SIDE], tile.inputs)
    again = build_mosaics(tiles, 12, seed=1)
    assert [each.names for each in again] == [each.names for each in mosaics]
    assert [each.names for each in build_mosaics(tiles, 12, seed=2)] != [each.names for each in mosaics]
    assert {mosaic.tiles[cell].target.index for mosaic in mosaics for cell in range(1)} == {0, 1, 2, 3}


def test_there_are_no_more_mosaics_than_differ():
    tiles = find_tiles(model_of(), pictures())[:4]
    assert len(build_mosaics(tiles, 100)) == 24
    found = grid_pointing(model_of(), pictures()[:4], {"right": right}, count=30)
    assert found.checks == ("GridPG: there are only 24 different mosaics of these pictures",)


def test_the_right_cell_has_all_of_a_perfect_map_and_a_quarter_of_an_even_one():
    methods = {"right": right, "everywhere": everywhere, "negative": negative, "random": random, "saliency": saliency}
    found = grid_pointing(model_of(), pictures(), methods, count=12)
    assert found.values.shape == (5, 12)
    np.testing.assert_array_equal(found.values[0], 1)
    np.testing.assert_allclose(found.values[1], 0.25)
    assert np.isnan(found.values[2]).all()
    assert found.undefined.tolist() == [0, 0, 48, 0, 0]
    error = found.values[3].std(ddof=1) / 12**0.5
    assert 0 < abs(found.values[3].mean() - 0.25) < 3 * error
    np.testing.assert_allclose(found.values[4], 0.25)
    assert found.checks == ("GridPG: mosaics of 5 of 6 pictures, whose top class is probable enough",)


def test_undefined_cells_are_left_out_of_the_mean():
    def half(model, inputs, targets, seed):
        found = right(model, inputs, targets, seed)
        found[0] = 0
        return found

    found = grid_pointing(model_of(), pictures(), {"half": half}, count=3)
    assert found.undefined.tolist() == [3]
    np.testing.assert_array_equal(found.values, 1)
    assert np.isnan(found.shares[0, :, 0]).all()


def test_every_mosaic_has_random_numbers_of_its_own():
    found = grid_pointing(model_of(), pictures(), {"random": random}, count=12, seed=4)
    assert len(set(found.shares.ravel().tolist())) == 48
    again = grid_pointing(model_of(), pictures(), {"random": random}, count=12, seed=4)
    assert np.array_equal(again.shares, found.shares)


def test_as_a_metric_every_picture_leads_a_mosaic():
    metric, function = load_metric("gridpg")
    assert function is gridpg
    assert metric.better(0.5, 0.3)
    seen = []

    def watching(model, inputs, targets, seed):
        seen.append((inputs[0].clone(), [each.index for each in targets]))
        return right(model, inputs, targets, seed)

    found = gridpg(model_of(), pictures(), None, {"watching": watching, "random": random}, seed=2)
    assert found.shape == (2, 6)
    assert found[0, :5].tolist() == [1] * 5
    assert np.isnan(found[:, 5]).all()
    assert len(set(found[1, :5].tolist())) == 5
    for row, (mosaic, classes) in enumerate(seen):
        cells = [mosaic[:, top : top + SIDE, left : left + SIDE] for top in (0, SIDE) for left in (0, SIDE)]
        assert any(torch.equal(cell, pictures()[row]) for cell in cells)
        assert sorted(classes) == [0, 1, 2, 3]
    assert np.array_equal(
        found, gridpg(model_of(), pictures(), None, {"w": right, "random": random}, seed=2), equal_nan=True
    )
    assert np.isnan(gridpg(model_of(), pictures()[:3], None, {"right": right})).all()


def test_too_few_classes_are_refused():
    with pytest.raises(UsageError, match="of 4 classes; there are 3 such pictures, of 3 classes: give more pictures"):
        grid_pointing(model_of(), pictures()[:3], {"right": right})
    with pytest.raises(UsageError, match="3 x 3 needs confidently classified pictures of 9 classes"):
        grid_pointing(model_of(), pictures(), {"right": right}, side=3)
    for given in ({"side": 1}, {"count": 0}):
        with pytest.raises(ParameterError, match="expected a side of at least 2"):
            grid_pointing(model_of(), pictures(), {"right": right}, **given)


def test_networks_that_take_no_larger_inputs_are_refused():
    with pytest.raises(
        ExplanationError, match="'colours' takes no inputs of 16 x 16 pixels, as mosaics for GridPG are"
    ):
        grid_pointing(model_of(FixedSize()), pictures(), {"right": right})


def test_networks_without_classes_of_whole_pictures_are_refused():
    class Dense(nn.Module):
        def forward(self, x):
            return x

    for module, given in ((Dense(), {}), (Colours(), {"head": "value"})):
        with pytest.raises(UsageError, match="gives no probability of a class of the whole picture; leave gridpg out"):
            find_tiles(model_of(module, **given), pictures())
    signals = Model(nn.Sequential(nn.Conv1d(1, 4, 3), nn.AdaptiveAvgPool1d(1), nn.Flatten()), input_size=32)
    with pytest.raises(UsageError, match="takes no pictures, of which mosaics for GridPG are made"):
        find_tiles(signals, torch.zeros(2, 1, 32))


def test_the_network_comes_back_also_after_an_exception():
    def failing(*_):
        raise ExplanationError("no gradient")

    net = FixedSize().train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with pytest.raises(ExplanationError):
        grid_pointing(model_of(net), pictures(), {"failing": failing})
    net2 = Colours().train()
    with pytest.raises(ExplanationError, match="no gradient"):
        grid_pointing(model_of(net2), pictures(), {"failing": failing})
    assert net.training
    assert net2.training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())

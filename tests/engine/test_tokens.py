"""Grids of tokens that no convolution made: inferred from their number, or said."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import cnnviz
from cnnviz.core.layer import Arrangement
from cnnviz.engine.arrangement import Arranger
from cnnviz.errors import ParameterError
from tests.support.networks import model_of


def seen(count, *, size=(), after=(), module=None, channels=8):
    arranger = Arranger(None, size)
    for part, shape in after:
        arranger.observe(part, torch.zeros(2, *shape), 2)
    return arranger.observe(module or nn.LayerNorm(channels), torch.zeros(2, count, channels), 2)


CONV = nn.Conv2d(3, 8, 1)


@pytest.mark.parametrize(
    ("grid", "count", "found", "prefix"),
    [
        ((14, 14), 49, (7, 7), 0),
        ((7, 7), 16, (4, 4), 0),  # a place left over has one of its own
        ((7, 7), 9, (3, 3), 0),  # or none
        ((56, 56), 196, (14, 14), 0),
        ((56, 56), 197, (14, 14), 1),
        ((8, 12), 24, (4, 6), 0),
        ((14, 14), 100, None, 0),  # queries of a detector
        ((14, 14), 64, None, 0),
        ((14, 14), 16, None, 0),
    ],
)
def test_grids_of_merged_tokens(grid, count, found, prefix):
    want = None if found is None else Arrangement("NTC", found, 8, prefix)
    arrangement = seen(count, after=[(CONV, (8, *grid))])
    assert arrangement == want
    assert arrangement is None or arrangement.inferred
    assert not seen(grid[0] * grid[1], after=[(CONV, (8, *grid))]).inferred


@pytest.mark.parametrize(
    ("size", "count", "found"),
    [
        ((224, 224), 196, (14, 14)),
        ((224, 224), 197, (14, 14)),
        ((32, 64), 32, (4, 8)),
        ((224, 224), 100, None),
        ((), 64, None),
    ],
)
def test_grids_of_patches_of_the_input(size, count, found):
    arrangement = seen(count, size=size)
    assert (None if arrangement is None else arrangement.grid) == found


def test_weights_between_tokens_are_no_picture():
    tokens = [(nn.LayerNorm(8), (64, 8))]
    arranger = Arranger(None, (32, 32))
    assert arranger.observe(nn.LayerNorm(8), torch.zeros(2, 64, 8), 2).grid == (8, 8)
    assert arranger.observe(nn.Dropout(), torch.zeros(2, 64, 64), 2) is None
    assert arranger.observe(nn.Dropout(), torch.zeros(2, 2, 64, 64), 2) is None
    assert arranger.observe(nn.LayerNorm(4), torch.zeros(2, 2, 64, 4), 2) is None  # keys, a head each
    assert seen(64, size=(32, 32), after=tokens, channels=64).grid == (8, 8)  # as many channels as tokens
    unknown = Arranger()
    assert unknown.observe(nn.LayerNorm(8), torch.zeros(2, 50, 8), 2) is None
    assert unknown.observe(nn.Dropout(), torch.zeros(2, 4, 50, 50), 2) is None


def test_channels_before_places_are_no_tokens():
    maps = [(CONV, (8, 8, 8)), (nn.Conv1d(8, 64, 1), (64, 20))]
    assert seen(64, after=maps, module=nn.GELU(), channels=20) is None


class Merge(nn.Module):
    """Tokens of patches, merged two by two with reshape."""

    def __init__(self, *, rows, columns):
        super().__init__()
        torch.manual_seed(0)
        self.grid = (rows, columns)
        self.patch, self.norm0, self.merge = nn.Conv2d(3, 8, 4, 4), nn.LayerNorm(8), nn.Linear(32, 16)
        self.norm, self.fc = nn.LayerNorm(16), nn.Linear(16, 5)

    def tokens(self, x):
        t, (rows, columns) = self.norm0(self.patch(x).flatten(2).transpose(1, 2)), self.grid
        t = t.reshape(len(x), rows, 2, columns, 2, -1).permute(0, 1, 3, 2, 4, 5).reshape(len(x), rows * columns, -1)
        return self.norm(self.merge(t))

    def forward(self, x):
        return self.fc(self.tokens(x).mean(1))


@pytest.mark.parametrize(("rows", "columns"), [(4, 4), (3, 5), (2, 4)])
def test_merged_tokens_are_a_map(rows, columns):
    net = Merge(rows=rows, columns=columns).eval()
    x = torch.rand(2, 3, 8 * rows, 8 * columns)
    model = cnnviz.Model(net, mean=[0.0] * 3, std=[1.0] * 3, input_size=(8 * rows, 8 * columns))
    found = cnnviz.gradcam(model, x, 1, relu=False)
    want = (net.tokens(x) * net.fc.weight[1] / (rows * columns)).sum(2).reshape(2, rows, columns)
    assert found.layer == "norm"
    np.testing.assert_allclose(found.values, want.detach().numpy(), atol=1e-6)
    said = f"the {rows * columns} tokens of norm are read as {rows} rows of {columns}, inferred from their number"
    assert any(check.startswith(said) for check in found.checks)


class Attended(nn.Module):
    """Tokens from unfold with attention written out; the classes by a query to keys and values, if there is one."""

    def __init__(self, *, query):
        super().__init__()
        torch.manual_seed(0)
        self.emb, self.qkv, self.drop = nn.Linear(48, 8), nn.Linear(8, 24), nn.Dropout(0.0)
        self.norm, self.kv, self.fc = nn.LayerNorm(8), nn.Linear(8, 16), nn.Linear(8, 5)
        self.query = nn.Parameter(torch.randn(1, 1, 8)) if query else None

    def forward(self, x):
        t, n = self.emb(functional.unfold(x, 4, stride=4).transpose(1, 2)), len(x)
        q, k, v = self.qkv(t).view(n, -1, 3, 2, 4).permute(2, 0, 3, 1, 4)
        a = self.drop((q @ k.transpose(-1, -2) / 2).softmax(-1))
        t = self.norm(t + (a @ v).transpose(1, 2).reshape(n, -1, 8))
        if self.query is None:
            return self.fc(t.mean(1))
        k, v = self.kv(t).chunk(2, dim=-1)
        return self.fc(((self.query @ k.transpose(1, 2)).softmax(-1) @ v)[:, 0])


@pytest.mark.parametrize("query", [False, True])
@pytest.mark.parametrize("size", [(32, 32), (16, 32)])
def test_tokens_from_unfold(query, size):
    model = cnnviz.Model(Attended(query=query).eval(), mean=[0.0] * 3, std=[1.0] * 3, input_size=size)
    found = cnnviz.gradcam(model, torch.rand(2, 3, *size), 1)
    assert (found.layer, found.values.shape[1:]) == ("norm", (size[0] // 4, size[1] // 4))
    assert {name for name, layer in model.layers.items() if layer.arrangement} == {"emb", "qkv", "norm", "kv"} - (
        set() if query else {"kv"}
    )


def test_a_grid_can_be_said():
    net, x = Attended(query=False).eval(), torch.rand(2, 3, 32, 32)
    usual = model_of(net)
    said = cnnviz.Model(net, mean=[0.0] * 3, std=[1.0] * 3, input_size=32, grid=(4, 16))
    found = cnnviz.gradcam(said, x, 1)
    assert found.values.shape[1:] == (4, 16)
    assert not any("inferred from their number" in check for check in found.checks)
    again = cnnviz.gradcam(model_of(net), x, 1)
    assert again.values.shape[1:] == (8, 8)
    np.testing.assert_array_equal(found.values.reshape(2, -1), again.values.reshape(2, -1))
    assert usual.grid is None


@pytest.mark.parametrize("grid", [(7,), (7, 7, 7), (0, 7), 7.5, ("7", "7")])
def test_a_grid_that_is_none(grid):
    with pytest.raises(ParameterError, match="rows and columns"):
        cnnviz.Model(Attended(query=False), grid=grid, input_size=32)


def test_a_grid_that_fits_no_layer():
    model = cnnviz.Model(Attended(query=False).eval(), mean=[0.0] * 3, std=[1.0] * 3, input_size=32, grid=(7, 7))
    with pytest.raises(ParameterError, match="7x7; the numbers of tokens of its layers are: 64"):
        cnnviz.gradcam(model, torch.rand(1, 3, 32, 32), 1)


@pytest.mark.parametrize("pool", [nn.AdaptiveAvgPool1d, nn.AdaptiveMaxPool1d])
def test_a_mean_over_all_tokens_is_no_grid_of_channels(pool):
    assert seen(64, after=[(CONV, (8, 8, 8))], module=pool(1), channels=1) is None


class Pooled(nn.Module):
    """Tokens halved on the way, and a mean of 64 channels, which are as many as the tokens were before."""

    def __init__(self):
        super().__init__()
        self.patch, self.merge, self.norm = nn.Conv2d(3, 16, 4, 4), nn.Linear(64, 64), nn.LayerNorm(64)
        self.pool, self.fc = nn.AdaptiveAvgPool1d(1), nn.Linear(64, 5)

    def forward(self, x):
        t = self.patch(x).reshape(len(x), 16, 4, 2, 4, 2).permute(0, 2, 4, 3, 5, 1).reshape(len(x), 16, 64)
        return self.fc(self.pool(self.norm(self.merge(t)).transpose(1, 2)).flatten(1))


def test_the_tokens_are_taken_and_not_their_mean(inputs):
    net = Pooled().eval()
    found = cnnviz.gradcam(model_of(net), inputs, 1)
    assert (found.layer, found.values.shape[1:]) == ("norm", (4, 4))
    kept = {}
    with net.norm.register_forward_hook(lambda part, given, output: kept.update(values=output)):
        scores = net(inputs)[:, 1].sum()
    (gradient,) = torch.autograd.grad(scores, kept["values"])
    right = (kept["values"] * gradient.mean(1, keepdim=True)).sum(2).reshape(-1, 4, 4).detach().numpy()
    assert np.abs(found.values - right).max() <= 1e-6 * np.abs(right).max()


class Linear(nn.Module):
    """A linear layer with a path of low rank beside it, as adapters are made; the path is entered by an identity."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.base, self.enter = nn.Linear(inside, outside), nn.Identity()
        self.down, self.up = nn.Linear(inside, 2), nn.Linear(2, outside)

    def forward(self, x):
        return self.base(x) + self.up(self.down(self.enter(x)))


class Attending(nn.Module):
    """One class token that attends to the places, by projections that are given."""

    def __init__(self, projection):
        super().__init__()
        self.patch, self.norm = nn.Conv2d(3, 8, 8, 8), nn.LayerNorm(8)
        self.q, self.k, self.v, self.fc = *(projection(8, 8) for _ in "qkv"), nn.Linear(8, 5)
        self.token = nn.Parameter(torch.randn(1, 1, 8))

    def forward(self, x):
        t = torch.cat([self.token.expand(len(x), -1, -1), self.patch(x).flatten(2).transpose(1, 2)], 1)
        t = self.norm(t)
        weights = (self.q(t) @ self.k(t).transpose(1, 2)).softmax(-1)
        return self.fc((weights @ self.v(t))[:, 0])


@pytest.mark.parametrize("projection", [nn.Linear, Linear])
def test_what_is_inside_a_projection_is_not_taken_for_the_tokens(projection, inputs):
    assert cnnviz.gradcam(model_of(Attending(projection)), inputs, 1).layer == "norm"

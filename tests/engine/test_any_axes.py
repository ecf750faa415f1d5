"""Layers, arrangements and dense answers of networks of signals and volumes."""

import numpy as np
import pytest
import torch
from torch import nn

import cnnviz
from cnnviz.core.dimensions import spell_shape
from cnnviz.engine.arrangement import from_maps, to_maps
from cnnviz.errors import ExplanationError, ParameterError, TargetError, UsageError


class Attending(nn.Module):
    """A signal cut into tokens that attend to each other, with or without a class token."""

    def __init__(self, *, token: bool) -> None:
        super().__init__()
        self.stem = nn.Conv1d(2, 12, 8, stride=8)
        self.token = nn.Parameter(torch.randn(1, 1, 12)) if token else None
        layer = nn.TransformerEncoderLayer(12, 2, 20, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(12)
        self.head = nn.Linear(12, 3)

    def forward(self, x):
        x = self.stem(x).transpose(1, 2)
        if self.token is not None:
            x = torch.cat([self.token.expand(len(x), -1, -1), x], dim=1)
        x = self.norm(self.encoder(x))
        return self.head(x.mean(dim=1) if self.token is None else x[:, 0])


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(2, 8, 5, stride=2, padding=2)
        self.gru = nn.GRU(8, 6, batch_first=True, bidirectional=True)
        self.head = nn.Linear(12, 3)

    def forward(self, x):
        found, _ = self.gru(self.conv(x).relu().transpose(1, 2))
        return self.head(found[:, -1])


class LastInSpace(nn.Module):
    """A volume's channels last, as windowed transformers hold them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(1, 6, 3, stride=2, padding=1)
        self.norm = nn.LayerNorm(6)
        self.mlp = nn.Sequential(nn.Linear(6, 9), nn.GELU(), nn.Linear(9, 6))
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        x = self.norm(self.conv(x).permute(0, 2, 3, 4, 1))
        return self.head((x + self.mlp(x)).mean(dim=(1, 2, 3)))


class Segmenting(nn.Module):
    """A class for every voxel."""

    def __init__(self) -> None:
        super().__init__()
        self.wide, self.down = nn.Conv3d(1, 4, 3, padding=1), nn.MaxPool3d(2)
        self.deep = nn.Conv3d(4, 6, 3, padding=1)
        self.up = nn.Upsample(scale_factor=2, mode="trilinear")
        self.head = nn.Conv3d(10, 3, 1)

    def forward(self, x):
        wide = self.wide(x).relu()
        deep = self.deep(self.down(wide)).relu()
        return self.head(torch.cat([wide, self.up(deep)], dim=1))


def model_of(net, **settings):
    torch.manual_seed(0)
    return cnnviz.Model(net().double().eval() if isinstance(net, type) else net.double().eval(), **settings)


@pytest.mark.parametrize("token", [False, True])
def test_tokens_of_a_signal_lie_on_its_places(token):
    torch.manual_seed(0)
    model = cnnviz.Model(Attending(token=token).eval(), input_size=96)
    layers = model.layers
    assert (layers["stem"].arrangement.order, layers["stem"].arrangement.grid) == ("NCT", (12,))
    for name in ("encoder.layers.0.norm1", "encoder.layers.0.linear1", "encoder.layers.0", "norm"):
        found = layers[name].arrangement
        assert (found.order, found.grid, found.prefix) == ("NTC", (12,), int(token)), name
    assert layers["stem"].field.box(3, 96) == (24, 32)
    assert layers["stem"].field.box(3, 96, spacing=1 / 250) == pytest.approx((24 / 250, 32 / 250))


def test_a_recurrent_layer_has_places():
    model = model_of(Recurrent, input_size=64)
    found = model.layers["gru"].arrangement
    assert (found.order, found.grid, found.channels) == ("NTC", (32,), 12)
    inputs = torch.randn(1, 2, 64, dtype=torch.float64)
    maps = cnnviz.gradcam(model, inputs, target=1, layer="gru", relu=False)
    features = model.module.conv(inputs).relu().transpose(1, 2)
    activation = model.module.gru(features)[0].detach().requires_grad_()
    (gradient,) = torch.autograd.grad(model.module.head(activation[:, -1])[0, 1], activation)
    right = (activation * gradient.mean(dim=1, keepdim=True)).sum(dim=2)
    np.testing.assert_allclose(maps.values, right.detach().numpy(), rtol=1e-5, atol=1e-9)


def test_channels_last_of_a_volume():
    model = model_of(LastInSpace, input_size=(8, 10, 12))
    for name in ("norm", "mlp.0", "mlp.1", "mlp"):
        assert model.layers[name].arrangement.order == "NDHWC"
        assert model.layers[name].arrangement.grid == (4, 5, 6)
    assert model.layers["mlp"].field.size == (3, 3, 3)
    inputs = torch.randn(1, 1, 8, 10, 12, dtype=torch.float64)
    found = cnnviz.gradcam(model, inputs, target=0, layer="mlp", relu=False)
    held = []
    handle = model.module.mlp.register_forward_hook(lambda _part, _inputs, output: held.append(output))
    score = model.module(inputs)[0, 0]
    handle.remove()
    (gradient,) = torch.autograd.grad(score, held[0])
    right = (held[0] * gradient.mean(dim=(1, 2, 3), keepdim=True)).sum(dim=4)
    np.testing.assert_allclose(found.values, right.detach().numpy(), rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("net", [Recurrent, LastInSpace])
def test_maps_and_back(net):
    model = model_of(net, input_size=(64,) if net is Recurrent else (8, 10, 12))
    layer = model.layers["gru" if net is Recurrent else "norm"]
    activation = torch.randn(2, *layer.shape)
    maps = to_maps(activation, layer.arrangement)
    assert maps.shape == (2, layer.arrangement.channels, *layer.arrangement.grid)
    assert torch.equal(from_maps(maps, layer.arrangement, activation), activation)


def test_the_first_convolution_tells_how_many_axes():
    signals, pictures, volumes = (
        cnnviz.Model(nn.Sequential(conv(2, 3, 3), nn.Flatten())) for conv in (nn.Conv1d, nn.Conv2d, nn.Conv3d)
    )
    assert [each.places for each in (signals, pictures, volumes)] == [1, 2, 3]
    assert [each.preprocess.channels for each in (signals, pictures, volumes)] == [2, 2, 2]
    assert cnnviz.Model(nn.Conv3d(2, 3, 3), input_size=32).preprocess.input_size == (32, 32, 32)
    assert cnnviz.Model(nn.Conv1d(2, 3, 3), input_size=300).preprocess.input_size == (300,)
    assert cnnviz.Model(nn.Conv2d(1, 3, 3), input_size=(4000,)).places == 1  # a spectrogram is made inside
    with pytest.raises(ParameterError, match="1 to 3 lengths"):
        cnnviz.Model(nn.Conv3d(2, 3, 3), input_size=(8, 8, 8, 8))


def test_inputs_of_another_number_of_axes_are_refused_in_a_sentence():
    signals, volumes = cnnviz.Model(nn.Conv1d(2, 3, 3)), cnnviz.Model(nn.Conv3d(2, 3, 3))
    with pytest.raises(UsageError, match=r"expected network input \(N, C, T\) or \(C, T\)"):
        cnnviz.saliency(signals, torch.randn(1, 2, 8, 8))
    with pytest.raises(UsageError, match=r"\(N, C, D, H, W\) or \(C, D, H, W\)"):
        cnnviz.saliency(volumes, torch.randn(2, 8, 8))
    assert spell_shape(3, 1) == "(N, 1, D, H, W)"


def test_a_class_of_every_voxel_is_explained_over_its_own():
    model = model_of(Segmenting, input_size=(6, 8, 8))
    inputs = torch.randn(1, 1, 6, 8, 8, dtype=torch.float64)
    logits = model.module(inputs)[0]
    won = logits.argmax(dim=0) == 1
    assert bool(won.any())
    found = cnnviz.gradcam(model, inputs, target=1, layer="deep", relu=False)
    assert found[0].score == pytest.approx(float(logits[1][won].sum().detach()))
    held = []
    handle = model.module.deep.register_forward_hook(lambda _part, _inputs, output: held.append(output))
    score = model.module(inputs)[0, 1][won].sum()
    handle.remove()
    (gradient,) = torch.autograd.grad(score, held[0])
    right = (held[0] * gradient.mean(dim=(2, 3, 4), keepdim=True)).sum(dim=1)
    np.testing.assert_allclose(found.values, right.detach().numpy(), rtol=1e-5, atol=1e-9)
    widest = int(torch.bincount(logits.argmax(dim=0).flatten()).argmax())
    assert str(cnnviz.saliency(model, inputs)[0].target) == f"class {widest}"


def test_a_signal_is_not_mirrored():
    model = model_of(Recurrent, input_size=64)
    with pytest.raises(UsageError, match="read backwards"):
        cnnviz.gradcam(model, torch.randn(1, 2, 64), layer="conv", flip=True)


def test_regions_and_boxes_are_of_pictures():
    model = model_of(Segmenting, input_size=(6, 8, 8))
    inputs = torch.randn(1, 1, 6, 8, 8, dtype=torch.float64)
    for target in ("1 in 0,0,4,4", "1@2,2", "1 #1"):
        with pytest.raises((TargetError, ExplanationError), match=r"pictures|boxes|dense"):
            cnnviz.gradcam(model, inputs, target=target, layer="deep")

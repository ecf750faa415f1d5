"""Networks of signals and volumes, against captum, hand-written autograd, and what can be counted by hand."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import torch
from captum.attr import GuidedBackprop, LayerGradCam, Saliency
from torch import nn
from torchvision.models.video import r3d_18

import cnnviz
from cnnviz.engine.batch_norms import folded_copy, observe_pairs
from cnnviz.errors import UsageError

CONVOLUTIONS = {1: nn.Conv1d, 3: nn.Conv3d}
NORMS = {1: nn.BatchNorm1d, 3: nn.BatchNorm3d}
POOLS = {1: nn.MaxPool1d, 3: nn.MaxPool3d}
MEANS = {1: nn.AdaptiveAvgPool1d, 3: nn.AdaptiveAvgPool3d}
SIZES = {1: (48,), 3: (10, 12, 14)}
CLOSE = 1e-5
EACH = pytest.mark.parametrize("places", [1, 3], ids=["signals", "volumes"])


def network(places: int) -> nn.Module:
    torch.manual_seed(places)
    conv, norm = CONVOLUTIONS[places], NORMS[places](6)
    norm.running_mean.uniform_(-0.5, 0.5)
    norm.running_var.uniform_(0.5, 2)
    return nn.Sequential(
        conv(2, 6, 3, padding=1), norm, nn.ReLU(), POOLS[places](2), conv(6, 8, 3, padding=1), nn.ReLU(),
        conv(8, 8, 3, 2, 1), nn.ReLU(), MEANS[places](1), nn.Flatten(), nn.Linear(8, 4),
    ).eval()  # fmt: skip


@pytest.fixture(params=[1, 3], ids=["signals", "volumes"])
def asked(request):
    """A model, its network and inputs."""
    net, size = network(request.param), SIZES[request.param]
    inputs = torch.randn(3, 2, *size, generator=torch.Generator().manual_seed(4))
    return cnnviz.Model(net, input_size=size, mean=(0.0, 0.0), std=(1.0, 1.0)), net, inputs


def assert_close(found, expected):
    expected = expected.detach().numpy()
    assert np.abs(expected).max() > 0
    assert np.abs(found - expected).max() <= CLOSE * np.abs(expected).max()


def test_saliency_is_captums(asked):
    model, net, inputs = asked
    found = cnnviz.saliency(model, inputs, 2).values
    assert_close(np.abs(found), Saliency(net).attribute(inputs.requires_grad_(), target=2, abs=True))


@pytest.mark.filterwarnings("ignore:Setting backward hooks on ReLU activations")
def test_guided_backpropagation_is_captums(asked):
    model, net, inputs = asked
    found = cnnviz.guided_backprop(model, inputs, 1).values
    assert_close(found, GuidedBackprop(net).attribute(inputs.requires_grad_(), target=1))


@pytest.mark.parametrize("layer", ["4", "7"])
def test_gradcam_is_captums(asked, layer):
    model, net, inputs = asked
    found = cnnviz.gradcam(model, inputs, 3, layer=layer).values
    expected = LayerGradCam(net, net[int(layer)]).attribute(inputs, target=3, relu_attributions=False)
    assert_close(found, expected[:, 0])


def test_gradcam_of_a_video_network_is_hand_written_autograd():
    torch.manual_seed(0)
    net = r3d_18(weights=None).eval()
    clips = torch.randn(2, 3, 8, 32, 32, generator=torch.Generator().manual_seed(1))
    model = cnnviz.Model(net, input_size=(8, 32, 32))
    for layer in ("layer1", "layer3"):
        caught = []
        handle = net.get_submodule(layer).register_forward_hook(lambda _m, _i, out, caught=caught: caught.append(out))
        logits = net(clips)
        handle.remove()
        (gradient,) = torch.autograd.grad(logits[:, 5].sum(), caught[0])
        expected = (gradient.mean(dim=(2, 3, 4), keepdim=True) * caught[0]).sum(dim=1)
        assert_close(cnnviz.gradcam(model, clips, 5, layer=layer).values, expected)


MONAI = """
from monai.networks.nets import DenseNet121

def make():
    return DenseNet121(spatial_dims=3, in_channels=1, out_channels=2)
"""


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("monai") is None, reason="monai is not installed")
def test_a_network_of_monai_opens_from_a_factory(tmp_path):
    file = tmp_path / "scans.py"
    file.write_text(MONAI, encoding="utf-8")
    torch.manual_seed(3)
    model = cnnviz.load_model(f"{file}:make", input_size=(32, 32, 32))
    assert model.places == 3
    assert model.preprocess.channels == 1
    inputs = torch.randn(1, 1, 32, 32, 32, generator=torch.Generator().manual_seed(2))
    net, layer = model.module, "features.denseblock3"
    caught = []
    handle = net.get_submodule(layer).register_forward_hook(lambda _m, _i, out: caught.append(out * 1.0) or caught[0])
    logits = net(inputs)
    handle.remove()
    (gradient,) = torch.autograd.grad(logits[0, 1], caught[0])
    expected = (gradient.mean(dim=(2, 3, 4), keepdim=True) * caught[0]).sum(dim=1)
    found = cnnviz.gradcam(model, inputs, 1, layer=layer)
    assert_close(found.values, expected)
    assert found[0].field.spans[0] == found[0].field.spans[2]


def test_batch_norms_fold_exactly(asked):
    _, net, inputs = asked
    wide = net.double()
    with observe_pairs(wide) as pairs, torch.no_grad():
        expected = wide(inputs.double())
    assert [(type(conv).__name__[:4], type(norm).__name__[:5]) for conv, norm in pairs] == [("Conv", "Batch")]
    copied = folded_copy(wide, pairs, torch.contiguous_format)
    assert isinstance(copied[1], nn.Identity)
    assert torch.allclose(copied(inputs.double()), expected, rtol=1e-12, atol=1e-12)


def test_filters_are_the_weights_and_fold_the_norm(asked):
    model, net, _ = asked
    found, folded = cnnviz.filters(model, sort="norm"), cnnviz.filters(model, fold=True)
    assert found.layer == "0"
    assert np.array_equal(found.values, net[0].weight.detach().numpy())
    norm = net[1]
    gains = (norm.weight / (norm.running_var + norm.eps).sqrt()).detach().reshape(-1, *[1] * (found.values.ndim - 1))
    assert_close(folded.values, net[0].weight * gains)
    norms = net[0].weight.detach().flatten(1).norm(dim=1)
    assert list(found.drawn) == norms.argsort(descending=True).tolist()
    pixels = found.grid().pixels()
    assert pixels.shape[2] == 3
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 20


@EACH
def test_what_kernels_over_time_have_not_is_refused(places):
    model = cnnviz.Model(network(places), input_size=SIZES[places])
    if places == 3:
        assert cnnviz.filters(model, layer="4", compress="layer").colours.shape == (8, 3, 3, 3, 3)
        return
    with pytest.raises(UsageError, match="Kernels over time have no hue; sort by norm or index"):
        cnnviz.filters(model, layer="4", sort="hue")
    with pytest.raises(UsageError, match="Kernels over time are drawn as lines, which have no colours"):
        cnnviz.filters(model, layer="4", compress="layer")


def test_features_are_what_the_layer_gives(asked):
    model, net, inputs = asked
    with torch.no_grad():
        maps = net[:6](inputs).numpy()
    found = cnnviz.features(model, inputs, layer="5", units="0,3,7")
    assert np.allclose(found.values, maps[:, [0, 3, 7]], atol=1e-6)
    strongest = cnnviz.features(model, inputs, layer="5", most=2)
    peaks = maps.reshape(*maps.shape[:2], -1).max(axis=2)
    assert np.array_equal(strongest.units, np.argsort(-peaks, axis=1, kind="stable")[:, :2])


def test_patches_are_the_largest_values_and_lie_where_they_are(asked):
    model, net, _ = asked
    size = model.preprocess.input_size
    inputs = torch.randn(12, 2, *size, generator=torch.Generator().manual_seed(9))
    with torch.no_grad():
        maps = net[:5](inputs).numpy()
    found = cnnviz.patches(model, inputs, layer="4", units="0-7", show=5, samples=2)
    flat = maps.reshape(*maps.shape[:2], -1)
    for unit in range(8):
        peaks = flat[:, unit].max(axis=1)
        order = np.argsort(-peaks, kind="stable")[:5]
        assert np.allclose(found.top.values[unit], peaks[order], atol=1e-5)
        assert found.top.images[unit].tolist() == order.tolist()
        for rank, image in enumerate(order):
            place = np.unravel_index(flat[image, unit].argmax(), maps.shape[2:])
            assert found.top.positions[unit, rank].tolist() == list(place)
            firsts, lasts = np.split(found.top.boxes[unit, rank], 2)
            assert firsts.tolist() == [2 * at - 3 for at in place]  # 3 of the second layer, by 2, and 3 of the first
            assert (lasts - firsts).tolist() == [8] * len(size)
    assert found.samples.positions.shape[-1] == len(size)
    assert any("exactly" in check for check in found.checks)


def test_an_index_of_signals_and_volumes_is_read_back(asked, tmp_path):
    model, _, _ = asked
    inputs = torch.randn(9, 2, *model.preprocess.input_size, generator=torch.Generator().manual_seed(9))
    made = cnnviz.patches(model, inputs, layer="4,7", units="0-3", show=3, index=str(tmp_path / "index"))
    again = cnnviz.patches(model, inputs, layer="4", units="0-3", show=3, index=str(tmp_path / "index"))
    assert np.array_equal(made.top.positions, again.top.positions)
    read = cnnviz.PatchIndex.read(tmp_path / "index")
    assert read.layer("7").grid == model.layers["7"].arrangement.grid
    assert read.layer("4").positions.shape[-1] == len(model.preprocess.input_size)


def test_a_data_set_of_files_is_scanned(asked, tmp_path):
    model, net, _ = asked
    values = torch.randn(5, 2, *model.preprocess.input_size, generator=torch.Generator().manual_seed(9))
    for number, each in enumerate(values):
        np.save(tmp_path / f"{number}.npy", each.numpy())
    found = cnnviz.patches(model, str(tmp_path), layer="4", units="0", show=5)
    with torch.no_grad():
        peaks = net[:5](values)[:, 0].flatten(1).amax(dim=1).numpy()
    assert np.allclose(found.top.values[0], np.sort(peaks)[::-1], atol=1e-5)
    assert [key.split()[-1] for key in found.top.keys[0]] == [f"{at}.npy" for at in np.argsort(-peaks)]


def test_effective_fields_lie_around_the_middle_and_within_the_field(asked):
    model, _, _ = asked
    found = cnnviz.effective_field(model, "4", count=30)
    size = model.preprocess.input_size
    assert found.values.shape == size
    assert found.place == tuple(side // 4 for side in size)
    firsts, lasts = np.split(np.array(found.field.box(*found.place, *size)), 2)
    inside = np.zeros(size, dtype=bool)
    inside[tuple(slice(*each) for each in zip(firsts, lasts, strict=True))] = True
    assert not found.values[~inside].any()
    assert (found.values[inside] > 0).mean() > 0.9
    assert 0 < found.size <= 8
    grid = found.grid().sheet
    assert len(grid.rows[0]) == (1 if len(size) == 1 else 3)


def test_maximize_raises_the_score_of_what_it_makes(asked):
    model, _, inputs = asked
    places = len(model.preprocess.input_size)
    found = cnnviz.maximize(model, [2, "4:3"], steps=48)
    assert found.pixels.shape[1:] == (
        2,
        *(round(side * found.pixels.shape[-1] / SIZES[places][-1]) for side in SIZES[places]),
    )
    assert np.abs(found.pixels).max() <= 4
    for one in found:
        assert one.history[-1] > one.history[0]
    noise = cnnviz.predict(model, inputs).logits[:, 2]
    assert found.scores[0] > noise.max()
    assert not any("slope" in quality for quality in found.quality)
    assert all(quality["held_out_draws"] == 32 for quality in found.quality)
    assert found.grid().pixels().shape[2] == 3


@pytest.mark.parametrize("recipe", ["crops", "whole", "natural", "dream", "simonyan", "yosinski"])
def test_every_recipe_makes_signals_and_volumes(asked, recipe):
    model, _, inputs = asked
    found = cnnviz.maximize(model, 1, start=inputs[:1], examples=inputs, recipe=recipe, steps=3)
    again = cnnviz.maximize(model, 1, start=inputs[:1], examples=inputs, recipe=recipe, steps=3)
    assert np.array_equal(found.pixels, again.pixels)
    assert np.isfinite(found.pixels).all()
    assert np.isfinite(found.scores).all()
    if recipe in {"simonyan", "yosinski"}:  # these stay near what they start from
        assert np.corrcoef(found.pixels.ravel(), inputs[0].numpy().ravel())[0, 1] > 0.8


def test_what_is_too_large_and_what_judges_another_kind_is_refused(asked):
    model, _, _ = asked
    with pytest.raises(cnnviz.CnnvizError, match="expected at most 16,777,216"):
        cnnviz.maximize(model, 1, size=2**25 if model.places == 1 else 400, steps=1)
    other = cnnviz.Model(network(4 - model.places), input_size=SIZES[4 - model.places])
    with pytest.raises(cnnviz.CnnvizError, match=r"takes (signals; these are volumes|volumes; these are signals)"):
        cnnviz.maximize(model, 1, judge=other, steps=1)
    with pytest.raises(UsageError, match="Networks are compared on the same inputs; these take signals and volumes"):
        cnnviz.compare([model, other], torch.zeros(1, 2, *model.preprocess.input_size), "gradcam")

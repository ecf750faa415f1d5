"""Every class activation map against its closed form on one convolution, a mean over all places and a linear layer."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cnnviz import Model
from cnnviz.catalogue import load
from cnnviz.methods.cams.gradcam import weigh_by_normalised_activation, weigh_by_share
from cnnviz.methods.cams.gradcam_variants import _add_noise, weigh_by_averaged_share
from tests.support.networks import OneConvolution
from tests.support.one_convolution import Written

HEIGHT, WIDTH, CLASSES = 5, 4, 3
CASES = {
    "cam": ("cam", "cam", {}),
    "gradcam": ("gradcam", "gradcam", {}),
    "xgradcam": ("xgradcam", "xgradcam", {}),
    "hirescam": ("hirescam", "hirescam", {}),
    "layercam": ("layercam", "layercam", {}),
    "gradcam++": ("gradcam_plusplus", "gradcam_plusplus", {}),
    "smooth gradcam++": ("smooth_gradcam_plusplus", "gradcam_plusplus", {"samples": 3, "noise": 0.2}),
    "shapleycam of the logit": ("shapleycam", "gradcam", {"score": "logit"}),
    "shapleycam": ("shapleycam", "shapleycam", {}),
    "ablationcam": ("ablationcam", "ablationcam", {}),
    "scorecam": ("scorecam", "scorecam", {}),
    "scorecam by probability": ("scorecam", "scorecam_by_probability", {"weighting": "probability"}),
    "reciprocam": ("reciprocam", "reciprocam", {}),
    "eigengradcam": ("eigengradcam", "eigengradcam", {}),
    "fullgrad": ("fullgrad", "fullgrad", {}),
}


@pytest.fixture
def net():
    """Weights of both signs, large enough that nothing is nearly linear by accident."""
    net = OneConvolution().eval()
    with torch.no_grad():
        for weight in net.parameters():
            weight.normal_(0, 0.8)
    return net


@pytest.fixture
def images():
    return torch.randn(2, 2, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(4), dtype=torch.float64)


def model_of(net):
    return Model(net, mean=(0.0,), std=(1.0,), input_size=(HEIGHT, WIDTH), channels=2)


def agree(found, expected, tolerance=1e-6):
    """To the six digits that a float32 result can hold, relative to the largest value."""
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max()


@pytest.mark.parametrize("c", range(CLASSES))
@pytest.mark.parametrize("case", CASES)
def test_the_map_is_its_closed_form(case, c, net, images):
    name, oracle, settings = CASES[case]
    layer = {"layer": "conv"} if "layer" in load(name).parameters else {}
    found = load(name)(model_of(net), images, c, **layer, **settings)
    for row, image in enumerate(images.numpy()):
        written = Written(net, image)
        agree(found.values[row], getattr(written, oracle)(c))
        assert found.scores[row] == pytest.approx(written.logits[c], rel=1e-6)
        assert found[row].probability == pytest.approx(written.probabilities(written.logits)[c], rel=1e-6)


def test_eigencam_has_no_class(net, images):
    found = load("eigencam")(model_of(net), images, layer="conv")
    for row, image in enumerate(images.numpy()):
        agree(found.values[row], Written(net, image).eigencam())


@pytest.mark.parametrize("blur", [True, False])
@pytest.mark.parametrize("score", ["logit", "probability"])
def test_reciprocam_in_all_its_forms(blur, score, net, images):
    found = load("reciprocam")(model_of(net), images, 1, layer="conv", blur=blur, score=score)
    for row, image in enumerate(images.numpy()):
        agree(found.values[row], Written(net, image).reciprocam(1, blur=blur, probability=score == "probability"))


@pytest.mark.parametrize("name", ["ablationcam", "scorecam", "reciprocam"])
def test_the_batch_size_of_the_changes_changes_nothing(name, net, images):
    model = model_of(net)
    whole = load(name)(model, images, 2, layer="conv").values
    agree(load(name)(model, images, 2, layer="conv", batch_size=1).values, whole)
    agree(load(name)(model, images, 2, layer="conv", batch_size=3).values, whole)


def test_the_oracle_is_the_network(net, images):
    for row, image in enumerate(images):
        written = Written(net, image.numpy())
        agree(net.conv(images)[row].detach().numpy(), written.maps, 1e-12)
        agree(net(images)[row].detach().numpy(), written.logits, 1e-12)


@pytest.mark.parametrize("flush", [False, True])
def test_xgradcam_of_channels_that_are_silent_or_cancel(flush):
    activations = torch.zeros(1, 3, 2, 2)
    activations[0, 1] = torch.tensor([[1.0, -1.0], [2.0, -2.0]])
    activations[0, 2] = 1
    torch.set_flush_denormal(flush)
    try:
        found = weigh_by_normalised_activation(activations, torch.full((1, 3, 2, 2), 2.0))
    finally:
        torch.set_flush_denormal(False)
    assert torch.equal(found, torch.full((1, 2, 2), 2.0))


def test_other_seeds_are_other_noise(net, images):
    """No sample of one seed is a sample of the next one."""
    drawn = []
    for seed in (0, 1):
        generator = torch.Generator().manual_seed(seed)
        drawn += [_add_noise(images, 0.1, generator)[0] for _ in range(4)]
    assert len({each.numpy().tobytes() for each in drawn}) == 8


def test_xgradcam_of_a_channel_that_sums_to_just_below_zero():
    """Its share is a millionth of the absolute sum, with the sum's own sign."""
    activations = torch.tensor([[[[1.0, -1.0 - 1e-9]]]], dtype=torch.float64)
    gradients = torch.tensor([[[[3.0, 1.0]]]], dtype=torch.float64)
    expected = (3 - 1 - 1e-9) / -(1e-6 * (2 + 1e-9)) * activations[:, 0]
    torch.testing.assert_close(weigh_by_normalised_activation(activations, gradients), expected)


def test_gradcam_plusplus_where_its_denominator_is_zero():
    """``2 + S g`` is 0 at the first place: it is held at a millionth there, in the smooth form too."""
    activations = torch.tensor([[[[-3.0, 1.0]]]], dtype=torch.float64)
    gradients = torch.tensor([[[[1.0, 0.5]]]], dtype=torch.float64)
    expected = (1 / 1e-6 + 0.5 / (2 - 2 * 0.5)) * activations[:, 0]
    torch.testing.assert_close(weigh_by_share(activations, gradients), expected)
    powers = [gradients**power for power in (1, 2, 3)]
    torch.testing.assert_close(weigh_by_averaged_share(activations, powers, 1), expected)


def test_smooth_gradcam_plusplus_adds_a_share_of_each_pictures_range(images):
    """The same draw for every picture, times the noise, times the picture's own largest less its smallest value."""
    scaled = torch.stack([images[0], 10 * images[0] + 5])
    drawn = torch.randn(images.shape[1:], generator=torch.Generator().manual_seed(7)).double()
    added = _add_noise(scaled, 0.2, torch.Generator().manual_seed(7)) - scaled
    ranges = torch.stack([each.max() - each.min() for each in scaled])
    torch.testing.assert_close(added, 0.2 * ranges[:, None, None, None] * drawn)

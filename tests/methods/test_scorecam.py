"""Score-CAM: masks on the picture, a folded private copy, no more memory than a batch of masks."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from cnnviz import Model, scorecam
from tests.support.networks import Small, model_of
from tests.support.torchvision_nets import noise, torchvision_net


def explicit(net, layer, image, c, *, weighting="softmax"):
    """One image's map by full forwards of the plain network, a mask after the other."""
    part, held = net.get_submodule(layer), {}
    handle = part.register_forward_hook(lambda *given: held.update(a=given[2].clone()))
    with torch.no_grad():
        net(image)
        handle.remove()
        activation, scores, kept = held["a"][0], [], []
        for each in activation:
            wide = functional.interpolate(each[None, None], size=image.shape[-2:], mode="bilinear", align_corners=False)
            if wide.max() > wide.min():
                logits = net(image * ((wide - wide.min()) / (wide.max() - wide.min())))[0]
                scores.append(logits[c] if weighting == "softmax" else logits.softmax(dim=0)[c])
                kept.append(each)
        weights = torch.stack(scores)
        weights = weights.softmax(dim=0) if weighting == "softmax" else weights
        return (weights[:, None, None] * torch.stack(kept)).sum(dim=0).numpy()


@pytest.mark.parametrize("weighting", ["softmax", "probability"])
@pytest.mark.parametrize("layer", ["conv1", "relu1", "conv2", "relu2"])
def test_the_map_is_that_of_masked_pictures(layer, weighting, inputs):
    net = Small().eval()
    net.relu1.inplace = False
    found = scorecam(model_of(net), inputs, 3, layer=layer, weighting=weighting).values
    for row, one in enumerate(inputs):
        expected = explicit(net, layer, one[None], 3, weighting=weighting)
        assert np.abs(found[row] - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize(("name", "layer"), [("resnet18", "layer1"), ("mobilenet_v2", "features.4")])
def test_the_folded_copy_gives_the_plain_networks_map(name, layer):
    net, image = torchvision_net(name), noise(1, 64)
    found = scorecam(Model(net, input_size=64), image, 3, layer=layer)
    expected = explicit(net, layer, image, 3)
    assert np.abs(found.values[0] - expected).max() <= 1e-4 * np.abs(expected).max()
    assert not any("copy" in check or "fold" in check for check in found.checks)


class Watched(nn.Module):
    """Writes down the sizes of batches with values that reach it; deep copies write into the same list."""

    def __init__(self, seen) -> None:
        super().__init__()
        self.seen = seen

    def __deepcopy__(self, memo):
        return Watched(self.seen)

    def forward(self, x):
        if not x.is_meta:
            self.seen.append(len(x))
        return x


@pytest.mark.parametrize("size", [1, 4, 7])
def test_no_more_masks_are_alive_than_a_batch(size, inputs):
    wide = nn.Sequential(
        Watched(seen := []), nn.Conv2d(3, 40, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(40, 5)
    )
    whole = scorecam(model_of(wide), inputs, 1, layer="1").values
    model = model_of(wide)
    scorecam(model, inputs, 1, layer="1", batch_size=size)  # what is asked once a model is known
    seen.clear()
    found = scorecam(model, inputs, 1, layer="1", batch_size=size).values
    assert max(seen) <= size
    assert sum(seen) >= 40 * len(inputs)
    assert np.allclose(found, whole, atol=1e-5 * np.abs(whole).max())


def test_constant_channels_are_left_out(inputs):
    net = Small().eval()
    with torch.no_grad():
        net.conv2.weight[2] = 0
        net.conv2.bias[2] = 1
    found = scorecam(model_of(net), inputs, 1, layer="conv2").values[0]
    assert np.allclose(found, explicit(net, "conv2", inputs[:1], 1), atol=1e-5 * np.abs(found).max())


@pytest.mark.slow
def test_the_precision_is_asked_for_and_its_loss_stated(inputs):
    net = torchvision_net("resnet18")
    image = noise(1, 64)
    full, half = (
        scorecam(Model(net, input_size=64), image, 3, layer="layer1", precision=each) for each in ("full", "bfloat16")
    )
    assert any(check.startswith("bfloat16: logits differ by up to") for check in half.checks)
    assert not any("bfloat16" in check for check in full.checks)
    assert np.corrcoef(full.values.ravel(), half.values.ravel())[0, 1] > 0.9
    unit = scorecam(model_of(Small()), inputs, "conv2:1", layer="conv1", precision="bfloat16")
    assert any(check.startswith("bfloat16 was not used") for check in unit.checks)


class Locked(Small):
    """Cannot be copied."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()


class Shared(Small):
    """Reads the convolution's output once more, past the batch norm."""

    def forward(self, x):
        x = self.conv1(x)
        x = self.down(self.relu1(self.norm1(x))) + self.down(x)
        return self.fc(self.relu2(self.conv2(x)).mean(dim=(2, 3)))


@pytest.mark.parametrize(
    ("build", "said"), [(Locked, "no faster copy of this network can be made"), (Shared, "folding batch norm changes")]
)
def test_where_a_copy_cannot_help_the_network_itself_runs(build, said, inputs):
    net = build().eval()
    found = scorecam(model_of(net), inputs, 1, layer="conv2")
    assert any(said in check for check in found.checks)
    expected = explicit(net, "conv2", inputs[:1], 1)
    assert np.abs(found.values[0] - expected).max() <= 1e-5 * np.abs(expected).max()


def test_the_probability_of_a_single_logit_is_a_sigmoid(inputs):
    net = Small(classes=1).eval()
    found = scorecam(
        model_of(net, labels=None, head="sigmoid"), inputs[:1], layer="conv2", weighting="probability"
    ).values[0]

    def doubled(x):
        return torch.cat([net(x), torch.zeros(len(x), 1)], dim=1)

    two = Small(classes=2).eval()
    head = {key: torch.cat([value, 0 * value]) for key, value in net.fc.state_dict(prefix="fc.").items()}
    two.load_state_dict(net.state_dict() | head)
    assert torch.allclose(two(inputs), doubled(inputs))
    expected = explicit(two, "conv2", inputs[:1], 0, weighting="probability")
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()

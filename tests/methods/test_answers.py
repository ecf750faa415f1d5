"""What the numbers of an output mean, method by method: heads given and recognised, and outputs without any logits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import cnnviz
from cnnviz.core.head import Head, parse_head
from cnnviz.core.target import ClassTarget
from cnnviz.errors import ExplanationError, ParameterError, UsageError


def grey(net, size=4, **more):
    return cnnviz.Model(net.eval(), mean=[0.0], std=[1.0], input_size=size, channels=1, **more)


class Pixel(nn.Module):
    """Answers ``intercepts + slopes * (mean of the picture)``, with something after it."""

    def __init__(self, slopes, intercepts, end=None):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(1, 1, 1, bias=False), nn.Linear(1, len(slopes))
        self.conv.weight.data.fill_(1.0)
        self.fc.weight.data, self.fc.bias.data = torch.tensor(slopes)[:, None], torch.tensor(intercepts)
        self.end = end

    def forward(self, x):
        logits = self.fc(self.conv(x).mean((2, 3)))
        return self.end(logits) if self.end else logits


def picture():
    x = torch.zeros(1, 1, 4, 4)
    x[0, 0, 1, 1] = 1.0
    return x


def hidden_change(model, target, **more):
    found = cnnviz.occlusion(model, picture(), target, window=1, stride=1, baseline="black", **more)
    assert np.count_nonzero(np.abs(found.values[0]) > 1e-9) == 1
    return float(found.values[0, 1, 1])


def sigmoid(value):
    return 1 / (1 + np.exp(-value))


@pytest.mark.parametrize("score", ["probability", "log-probability", "logit"])
def test_independent_labels_keep_their_own_probability(score):
    model = grey(Pixel([8.0, 40.0], [0.5, 0.5]), head="sigmoid")
    with_it, without = sigmoid(1.0), sigmoid(0.5)
    right = {"probability": with_it - without, "log-probability": np.log(with_it / without), "logit": 0.5}
    assert hidden_change(model, 0, score=score) == pytest.approx(right[score], abs=1e-6)
    assert cnnviz.gradcam(model, picture(), 0)[0].probability == pytest.approx(with_it, abs=1e-6)


@pytest.mark.parametrize("method", [cnnviz.rise, cnnviz.scorecam, cnnviz.reciprocam])
def test_other_methods_read_probabilities_off_the_head(method):
    """Two labels of one logit each: the map for one is the same, whatever the other label's logit is."""
    kept = {"rise": {"masks": 50, "cells": 2}, "scorecam": {"weighting": "probability"}, "reciprocam": {}}[method.name]
    maps = [
        method(grey(Pixel([8.0, other], [0.5, 0.1]), head="sigmoid"), picture(), 0, **kept).values
        for other in (1.0, 40.0)
    ]
    assert np.abs(maps[0]).max() > 0
    np.testing.assert_allclose(maps[0], maps[1], atol=1e-6)
    exclusive = [
        method(grey(Pixel([8.0, other], [0.5, 0.1]), head="softmax"), picture(), 0, **kept).values
        for other in (1.0, 40.0)
    ]
    assert np.abs(exclusive[0] - exclusive[1]).max() > 1e-3


def test_a_multi_label_prediction_lists_the_labels_above_one_half():
    model = grey(Pixel([0.0] * 4, [2.0, -1.0, 0.3, -3.0]), head="sigmoid", labels=("a", "b", "c", "d"))
    (best,) = cnnviz.predict(model, picture())
    assert [str(one.target) for one in best] == ["a", "c"]
    assert [one.probability for one in best] == pytest.approx([sigmoid(2.0), sigmoid(0.3)], abs=1e-6)
    (none,) = cnnviz.predict(grey(Pixel([0.0, 0.0], [-2.0, -1.0]), head="sigmoid"), picture())
    assert [one.target.index for one in none] == [1]


@pytest.mark.parametrize("head", [None, "binary"])
def test_one_logit_has_two_classes_and_either_can_be_the_target(head):
    model = grey(Pixel([16.0], [0.5]), head=head, labels=("benign", "malignant"))
    (best,) = cnnviz.predict(model, picture())
    assert {str(one.target): one.probability for one in best} == pytest.approx(
        {"malignant": sigmoid(1.5), "benign": sigmoid(-1.5)}, abs=1e-6
    )
    for label, sign in (("malignant", 1), ("benign", -1)):
        found = cnnviz.gradcam(model, picture(), label, layer="conv", relu=False)
        assert found[0].score == pytest.approx(sign * 1.5, abs=1e-6)
        assert found[0].probability == pytest.approx(sigmoid(sign * 1.5), abs=1e-6)
        np.testing.assert_allclose(found.values[0], sign * picture()[0, 0].numpy(), atol=1e-6)
        assert hidden_change(model, label) == pytest.approx(sign * (sigmoid(1.5) - sigmoid(0.5)), abs=1e-6)


@pytest.mark.parametrize(
    ("head", "caption"), [(None, "age 34.6"), ("value", "age 34.6"), ("value:years", "age 34.6 years")]
)
def test_a_value_is_shown_as_a_value(head, caption):
    model = grey(Pixel([16 * 4.6], [30.0]), head=head, labels=("age",))
    found = cnnviz.occlusion(model, picture(), window=1, stride=1, baseline="black")
    assert found[0].caption() == caption
    assert found.values[0, 1, 1] == pytest.approx(4.6, abs=1e-4)
    assert found[0].probability is None
    assert found[0].describe()["unit"] == (head or "").partition(":")[2]
    predicted = cnnviz.predict(model, picture())
    assert str(predicted).splitlines()[1].split()[0] == "34.6"
    assumed = any(check.startswith("one output, read as a value; --head binary") for check in found.checks)
    assert assumed == (head is None)


def test_a_unit_asked_first_does_not_hide_the_end():
    model = grey(Pixel([8.0, 40.0], [0.5, 0.5], nn.Sigmoid()))
    cnnviz.saliency(model, picture(), "conv:0")
    assert model.head == Head("sigmoid", end="sigmoid", notes=model.head.notes)
    assert cnnviz.predict(model, picture())[0][0].probability == pytest.approx(sigmoid(3.0), abs=1e-6)


def test_a_softmax_within_the_network_is_no_end():
    model = grey(Pixel([8.0, 40.0], [0.5, 0.5], lambda z: z.softmax(1) * 7 - 2))
    assert cnnviz.gradcam(model, picture(), 1)[0].score < 7
    assert model.head.kind == "softmax"
    assert not model.head.end


def test_probabilities_of_an_unknown_end_are_shown_as_they_are():
    net = Pixel([8.0, 40.0], [0.5, 0.5], lambda z: z.exp() / z.exp().sum(1, keepdim=True))
    found = cnnviz.predict(grey(net), picture())
    assert found[0][0].probability == pytest.approx(sigmoid(2.0), abs=1e-6)
    assert any("add up to 1" in check for check in found.checks)
    loose = grey(Pixel([1.6, 3.2], [0.1, 0.3]), head="probabilities")
    assert [one.probability for one in cnnviz.predict(loose, picture())[0]] == pytest.approx([0.5, 0.2])
    assert hidden_change(loose, 1) == pytest.approx(0.2)


def test_bad_heads_are_refused_in_a_sentence():
    with pytest.raises(ParameterError, match=r"did you mean 'sigmoid'\?"):
        grey(Pixel([1.0], [0.0]), head="sigmoidd")
    with pytest.raises(ParameterError, match="value or value:UNIT; got 'softmax:x'"):
        parse_head("softmax:x")
    with pytest.raises(ExplanationError, match="A binary head is one logit for two classes; this network gives 3"):
        cnnviz.predict(grey(Pixel([1.0] * 3, [0.0] * 3), head="binary"), picture())


def test_a_sum_of_labels():
    model = grey(Pixel([8.0, 40.0, 4.0], [0.5, 0.5, 0.1]), labels=("red cat", "owl", "grey cat"))
    found = cnnviz.gradcam(model, picture(), "*cat", layer="conv", relu=False)
    assert found[0].score == pytest.approx(1.0 + 0.35, abs=1e-6)
    np.testing.assert_allclose(found.values[0], (12 / 16) * picture()[0, 0].numpy(), atol=1e-6)
    logits = np.array([1.0, 3.0, 0.35])
    shares = np.exp(logits) / np.exp(logits).sum()
    assert found[0].probability == pytest.approx(shares[0] + shares[2], abs=1e-6)
    assert found[0].caption().startswith("*cat (red cat + grey cat), ")
    assert "'*cat' is the sum of 2 logits: red cat, grey cat" in found.checks
    without = np.array([0.5, 0.5, 0.1])
    empty = np.exp(without) / np.exp(without).sum()
    assert hidden_change(model, "*cat") == pytest.approx(shares[[0, 2]].sum() - empty[[0, 2]].sum(), abs=1e-6)


class Dense(nn.Module):
    """Class scores for every pixel, in one of several containers."""

    def __init__(self, pack):
        super().__init__()
        torch.manual_seed(0)
        self.enc, self.out, self.pack = (
            nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU()),
            nn.Conv2d(8, 2, 1),
            pack,
        )

    def forward(self, x):
        return self.pack(self.out(self.enc(x)))


PACKS = [
    lambda y: y,
    lambda y: {"masks": y, "boxes": y[:, :, 0]},
    lambda y: [{"boxes": each[0]} for each in y],  # as detectors do
    lambda y: (y, y[:, 0], "text"),
]


@pytest.mark.parametrize("pack", PACKS[1:])
def test_what_needs_no_logits_works_whatever_the_network_returns(pack):
    net = Dense(pack).eval()
    model = cnnviz.Model(net, mean=[0.5], std=[0.5], input_size=16, labels=("one", "two", "three"))
    x = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    leaf = x.clone().requires_grad_()
    (right,) = torch.autograd.grad(net.enc(leaf)[:, 3].mean(dim=(1, 2)).sum(), leaf)
    np.testing.assert_allclose(cnnviz.saliency(model, x, "enc:3").values, right.numpy(), atol=1e-7)
    features = cnnviz.features(model, x, layer="enc", units="0-7")
    np.testing.assert_allclose(features.values, net.enc(x).detach().numpy(), atol=1e-6)
    assert cnnviz.eigencam(model, x, layer="enc").values.shape == (2, 16, 16)
    assert cnnviz.gradcam(model, x, "out:1", layer="enc").values.max() > 0
    assert cnnviz.guided_backprop(model, x, "out:1").values.any()
    assert cnnviz.ablationcam(model, x, "out:1", layer="enc").values.any()
    concepts = cnnviz.dff(model, x, layer="enc", concepts=3)
    assert concepts.values.shape == (2, 3, 16, 16)
    assert concepts.classes == ()
    assert "the network gives no logits of classes, so its concepts have no names" in concepts.checks
    assert concepts.grid().pixels().shape[2] == 3
    assert model.layers["enc"].shape == (8, 16, 16)
    with pytest.raises(ExplanationError, match=r"\(\.\.\., logits="):
        cnnviz.gradcam(model, x, 1)


def test_a_picture_is_made_for_a_unit_of_a_network_without_logits():
    net = Dense(PACKS[1]).eval()
    model = cnnviz.Model(net, mean=[0.5] * 3, std=[0.5] * 3, input_size=16)
    made = cnnviz.maximize(model, "out:1", steps=8)[0]
    inputs = (torch.from_numpy(made.pixels)[None] - 0.5) / 0.5
    assert made.score == pytest.approx(float(net.out(net.enc(inputs))[0, 1].detach().mean()), rel=1e-4)
    assert made.history[-1] > made.history[0]


def test_a_report_without_logits_tells_what_it_can(tmp_path):
    model = cnnviz.Model(Dense(PACKS[1]).eval(), mean=[0.5] * 3, std=[0.5] * 3, input_size=16)
    x = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    found = cnnviz.report(model, x)
    assert {"features-out", "filters"} <= set(found.figures)
    assert "maps: The network returns a dict" in " ".join(found.checks)
    assert "no logits that can be read" in found.save(tmp_path / "r.html").read_text()
    of_unit = cnnviz.report(model, x, "out:1", sections="maps,predictions", methods="gradcam,saliency")
    right = cnnviz.gradcam(model, x, "out:1").values
    np.testing.assert_array_equal(of_unit.figures["maps"].maps["gradcam"].values, right)
    with pytest.raises(ExplanationError, match="returns a dict"):
        cnnviz.report(model, x, 1)


class Tokens(nn.Module):
    """A linear layer over tokens, which may be a projection of an attention, and no logits at all."""

    def __init__(self) -> None:
        super().__init__()
        self.patch, self.mix, self.norm = nn.Conv2d(3, 8, 4, 4), nn.Linear(8, 8), nn.LayerNorm(8)

    def forward(self, x):
        tokens = self.patch(x).flatten(2).transpose(1, 2)
        return {"one": self.norm(self.mix(tokens)), "two": tokens}


def test_a_unit_behind_a_linear_layer_over_tokens_needs_no_logits():
    torch.manual_seed(0)
    net, inputs = Tokens().double().eval(), torch.rand(1, 3, 32, 32, dtype=torch.float64)
    model = cnnviz.Model(net, mean=[0.0] * 3, std=[1.0] * 3, input_size=32)
    found = cnnviz.gradcam(model, inputs, "norm:3", relu=False)
    mixed = net.mix(net.patch(inputs).flatten(2).transpose(1, 2)).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(net.norm(mixed)[..., 3].mean(), mixed)
    expected = (gradient.mean(dim=1, keepdim=True) * mixed).sum(dim=2).reshape(8, 8).detach().numpy()
    assert found.layer == "mix"
    assert np.abs(found.values[0] - expected).max() <= 1e-6 * np.abs(expected).max()


def test_the_shapes_of_an_output_are_named():
    model = cnnviz.Model(Dense(PACKS[1]).eval(), mean=[0.5], std=[0.5], input_size=16)
    with pytest.raises(ExplanationError, match=r"'masks': \(1, 2, 16, 16\), 'boxes': \(1, 2, 16\)"):
        cnnviz.predict(model, torch.rand(1, 3, 16, 16))


def test_a_function_for_the_logits_that_fails_is_told_as_that():
    def wrong(output):
        return output["nothing"]

    model = cnnviz.Model(Dense(PACKS[0]).eval(), mean=[0.5], std=[0.5], input_size=16, logits=wrong)
    with pytest.raises(
        ExplanationError,
        match=r"reads the logits failed on a tensor \(1, 2, 16, 16\): .* in line \d+ of test_answers.py",
    ):
        cnnviz.predict(model, torch.rand(1, 3, 16, 16))


def test_training_mode_changes_no_statistics():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
    )
    model, x = grey(net, 8), torch.rand(3, 1, 8, 8)
    right = net(x)
    net.train()
    net[2].eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    np.testing.assert_array_equal(model.forward(x).detach(), right.detach())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert [part.training for part in net] == [True, True, False, True, True, True]


class Viewing(nn.Module):
    """``x.view`` on activations: takes no channels-last memory."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.norm, self.fc = nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.Linear(8 * 8 * 8, 5)

    def forward(self, x):
        return self.fc(functional.relu(self.norm(self.conv(x))).view(len(x), -1))


def test_a_network_that_views_gets_a_copy_too():
    from cnnviz.models.inference_copy import inference_copy

    net = Viewing()
    net.norm.running_mean.uniform_(-1, 1)
    model = cnnviz.Model(net.eval(), mean=[0.0], std=[1.0], input_size=16)
    x = torch.rand(2, 3, 16, 16)
    found = inference_copy(model, x[:1])
    assert found.model is not model
    assert found.checks == ()
    assert found.model.memory_format == torch.contiguous_format
    assert isinstance(found.model.module.norm, nn.Identity)
    occluded = cnnviz.occlusion(model, x, 1, window=4, stride=4)
    assert not [check for check in occluded.checks if "faster copy" in check]
    hidden = x[:1].clone()
    hidden[:, :, :4, :4] = 0
    drop = net(x[:1]).softmax(1)[0, 1] - net(hidden).softmax(1)[0, 1]
    black = cnnviz.occlusion(model, x[:1], 1, window=4, stride=4, baseline="black")
    assert black.values[0, 0, 0] == pytest.approx(drop.item(), abs=1e-5)


def test_layers_are_given_as_modules_and_lists():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.ReLU(),
        nn.Conv2d(4, 4, 3),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 3),
    )
    model, x = grey(net, 12), torch.rand(1, 1, 12, 12)
    named = cnnviz.gradcam(model, x, 1, layer="1").values
    np.testing.assert_array_equal(cnnviz.gradcam(model, x, 1, layer=net[1]).values, named)
    both = cnnviz.gradcam(model, x, 1, layer="1,3")
    for spelt in (["1", "3"], (net[1], "3")):
        found = cnnviz.gradcam(model, x, 1, layer=spelt)
        np.testing.assert_array_equal(found.values, both.values)
        assert found.provenance.settings["layer"] == "1,3"
    units = cnnviz.features(model, x, layer=net[1], units=[0, 2])
    np.testing.assert_array_equal(units.values, cnnviz.features(model, x, layer="1", units="0,2").values)
    with pytest.raises(UsageError, match="The layer, a ReLU, is no part of 'Sequential'"):
        cnnviz.gradcam(model, x, 1, layer=nn.ReLU())
    with pytest.raises(ParameterError, match="units must be a text"):
        cnnviz.features(model, x, layer="1", units=3)


def test_targets_that_are_classes_are_what_the_head_says():
    model = grey(Pixel([16.0], [0.5]), labels=("no", "yes"))
    assert cnnviz.gradcam(model, picture()).targets == (ClassTarget(1, "yes"),)

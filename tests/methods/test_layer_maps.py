"""What all class activation maps share: several layers, sign, mirrored pictures, targets of every kind."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from cnnviz.catalogue import CAMS, CATALOGUE
from cnnviz.core.target import ClassTarget, Finer
from cnnviz.errors import ExplanationError, UnknownNameError, UsageError
from tests.support.asking import METHODS, ask, method_of
from tests.support.networks import LABELS, Small, Tabled, model_of

LAYERED = [name for name in METHODS if CATALOGUE[name].family == CAMS and "fuse" in method_of(name).parameters]
TARGETED = [name for name in LAYERED if "target" in method_of(name).needs]
CAT = ClassTarget(0, "cat")
GRADIENTS = ("gradcam", "gradcam_plusplus", "xgradcam", "hirescam", "layercam", "shapleycam", "eigengradcam")
PERTURBATIONS = ("ablationcam", "reciprocam")


def early(name):
    """A layer before conv2: a finer one, but for the method that asks about each place."""
    return "down" if name == "reciprocam" else "conv1"


def close(one, other, tolerance=1e-5):
    one, other = np.asarray(one), np.asarray(other)
    assert one.shape == other.shape
    assert np.abs(one - other).max() <= tolerance * max(np.abs(other).max(), 1e-30)


def scaled(values, size, *, relu):
    """A map as it enters the fusion: rectified, enlarged, divided by its largest absolute value."""
    shown = torch.from_numpy(np.maximum(values, 0) if relu else values)
    wide = functional.interpolate(shown[:, None], size=size, mode="bilinear", align_corners=False)[:, 0].numpy()
    return np.stack([each / max(np.abs(each).max(), 1e-30) for each in wide])


FUSIONS = {
    "mean": lambda a, b: (a + b) / 2,
    "product": lambda a, b: np.maximum(a, 0) * np.maximum(b, 0),
    "max": lambda a, b: np.where(np.abs(a) >= np.abs(b), a, b),
}


@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("fuse", FUSIONS)
@pytest.mark.parametrize("name", LAYERED)
def test_several_layers_are_fused(name, fuse, relu, small, inputs):
    layers = early(name), "conv2"
    fused = ask(name, small, inputs, 1, layer=", ".join(layers), fuse=fuse, relu=relu)
    alone = [ask(name, small, inputs, 1, layer=layer).values for layer in layers]
    close(fused.values, FUSIONS[fuse](*(scaled(each, alone[0].shape[1:], relu=relu) for each in alone)))
    assert fused.layer == ", ".join(layers)


def test_the_same_layer_twice_is_one_layer(small, inputs):
    twice, once = (ask("gradcam", small, inputs, 1, layer=layer) for layer in ("conv2,conv2", "conv2"))
    assert np.array_equal(twice.values, once.values)
    assert twice.layer == "conv2"


def test_the_automatic_layer_stands_alone(small, inputs):
    with pytest.raises(UsageError, match="'last-spatial' stands alone"):
        ask("gradcam", small, inputs, layer="conv1,last-spatial")
    named, left_out = (ask("gradcam", small, inputs, 1, layer=layer) for layer in ("last-spatial", None))
    assert np.array_equal(named.values, left_out.values)


@pytest.mark.parametrize("name", LAYERED)
def test_layers_that_there_are_not(name, small, inputs):
    with pytest.raises(UnknownNameError, match="conv2"):
        ask(name, small, inputs, layer="conv1,conv3")
    with pytest.raises(UsageError, match="no spatial extent"):
        ask(name, small, inputs, layer="fc")


@pytest.mark.parametrize("name", LAYERED)
def test_without_the_rectifier_the_map_keeps_its_sign(name, small, inputs):
    layer = "conv1" if name == "eigengradcam" else "conv2"
    rectified, signed = (ask(name, small, inputs, 1, layer=layer, relu=relu) for relu in (True, False))
    assert np.array_equal(rectified.values, signed.values)
    assert (rectified[0].rectified, signed[0].rectified) == (True, False)
    assert rectified.upsampled().min() >= 0
    if name not in ("layercam", "reciprocam"):
        assert signed.upsampled().min() < 0


@pytest.mark.parametrize("name", TARGETED)
def test_counterfactual_is_the_map_of_the_negated_score(name, small, inputs):
    settings = {"score": "logit"} if name in ("reciprocam", "shapleycam") else {}
    against = ask(name, small, inputs, 3, layer=early(name), counterfactual=True, **settings)
    negated = ask(name, small, inputs, lambda logits: -logits[:, 3], layer=early(name), **settings)
    close(against.values, negated.values)
    close(against.scores, -negated.scores)


@pytest.mark.parametrize(("name", "setting"), [("reciprocam", "score"), ("scorecam", "weighting")])
def test_counterfactual_of_a_probability_is_that_of_anything_else(name, setting, inputs):
    two = model_of(Small(classes=2), labels=None)
    settings = {"layer": "conv2", setting: "probability"}
    against = ask(name, two, inputs, 0, counterfactual=True, **settings)
    close(against.values, ask(name, two, inputs, 1, **settings).values)
    assert not any(each.blank for each in against)


@pytest.mark.parametrize("layer", ["early", None, "early,conv2"])
@pytest.mark.parametrize("name", LAYERED)
def test_flip_is_the_mean_with_the_mirrored_picture(name, layer, small, inputs):
    layer = layer and layer.replace("early", early(name))
    plain, mirrored = (ask(name, small, each, 1, layer=layer).values for each in (inputs, inputs.flip(-1)))
    both = ask(name, small, inputs, 1, layer=layer, flip=True)
    close(both.values, (plain + mirrored[..., ::-1]) / 2)


@pytest.mark.parametrize("name", ["gradcam", "hirescam", "layercam", *PERTURBATIONS])
def test_flip_mirrors_the_place_of_a_unit_too(name, small, inputs):
    both = ask(name, small, inputs, "conv2:2@3,1", layer=early(name), flip=True)
    plain = ask(name, small, inputs, "conv2:2@3,1", layer=early(name)).values
    mirrored = ask(name, small, inputs.flip(-1), "conv2:2@3,6", layer=early(name)).values
    close(both.values, (plain + mirrored[..., ::-1]) / 2)
    assert str(both.targets[0]) == "conv2:2@3,1"


@pytest.mark.parametrize("name", LAYERED)
def test_flip_without_a_target_or_with_the_top_class(name, small, inputs):
    found = ask(name, small, inputs, flip=True)
    plain = ask(name, small, inputs)
    assert [str(each) for each in found.targets] == [str(each) for each in plain.targets]


@pytest.mark.parametrize("name", ["gradcam", "xgradcam", "hirescam", "eigengradcam", "ablationcam", "reciprocam"])
def test_a_difference_is_the_difference_of_scores(name, small, inputs):
    settings = {"layer": early(name)} | ({"score": "logit"} if name == "reciprocam" else {})
    found = ask(name, small, inputs, "cat - frog", **settings)
    written = ask(name, small, inputs, lambda logits: logits[:, 0] - logits[:, 4], **settings)
    close(found.values, written.values)
    if name in ("gradcam", "hirescam"):
        parts = [ask(name, small, inputs, each, **settings).values for each in ("cat", "frog")]
        close(found.values, parts[0] - parts[1])


@pytest.mark.parametrize("name", ["gradcam", "layercam", "scorecam", "ablationcam", "reciprocam"])
@pytest.mark.parametrize("like", ["cat vs similar", "top vs similar", Finer(CAT, strength=1.0, rivals=2)])
def test_finer_targets_keep_the_rivals_of_the_picture(name, like, small, inputs):
    settings = {"layer": "conv2"} | ({"score": "logit"} if name == "reciprocam" else {})
    found = ask(name, small, inputs, like, **settings)
    strength, rivals = (like.strength, like.rivals) if isinstance(like, Finer) else (0.6, 3)
    with torch.no_grad():
        logits = small.module.eval()(inputs)
    for row, one in enumerate(inputs):
        own = int(logits[row].argmax()) if like == "top vs similar" else 0
        others = sorted(set(range(5)) - {own}, key=lambda k, row=row, own=own: abs(logits[row, k] - logits[row, own]))

        def written(answers, own=own, near=tuple(others[:rivals])):
            return answers[:, own] - strength * answers[:, list(near)].mean(dim=1)

        close(found.values[row, None], ask(name, small, one[None], written, **settings).values)
        assert str(found.targets[row]) == f"{LABELS[own]} vs similar"


@pytest.mark.parametrize("name", GRADIENTS)
@pytest.mark.parametrize("unit", ["conv2:1", "conv2:4@2,5", "fc:3"])
def test_units_of_gradient_methods(name, unit, small, inputs):
    settings = {"score": "logit"} if name == "shapleycam" else {}
    found = ask(name, small, inputs, unit, layer="conv1", **settings)
    layer, channel = unit.partition("@")[0].split(":")
    held = {}
    small.module.eval().get_submodule(layer).register_forward_hook(lambda *given: held.update(out=given[2]))
    small.module(inputs)
    if layer == "fc":
        expected = held["out"][:, 3]
        close(found.values, ask(name, small, inputs, 3, layer="conv1", **settings).values)
    else:
        expected = held["out"][:, int(channel)]
        expected = expected[:, 2, 5] if "@" in unit else expected.mean(dim=(1, 2))
    close(found.scores, expected.detach().numpy())
    assert found.values.any()


@pytest.mark.parametrize("unit", ["conv2:1", "conv2:4@2,5", "conv1:3"])
def test_units_of_ablation(unit, small, inputs):
    found = ask("ablationcam", small, inputs, unit, layer="conv1")
    net = small.module.eval()
    layer, channel = unit.partition("@")[0].split(":")
    held = {}
    net.get_submodule(layer).register_forward_hook(lambda *given: held.update(out=given[2].clone()))

    def score(hook):
        handle = net.conv1.register_forward_hook(hook, prepend=True)
        with torch.no_grad():
            net(inputs)
        handle.remove()
        maps = held["out"][:, int(channel)]
        return maps[:, 2, 5] if "@" in unit else maps.mean(dim=(1, 2))

    whole, expected = score(lambda *_: None), 0
    with torch.no_grad():
        activation = net.conv1(inputs)
    held.clear()
    for k in range(8):
        without = torch.ones(8)
        without[k] = 0
        drop = whole - score(lambda _part, _inputs, output, keep=without: output * keep[:, None, None])
        expected = expected + (drop / whole.abs())[:, None, None] * activation[:, k]
    close(found.values, expected.numpy(), 1e-4)


@pytest.mark.parametrize("name", [*GRADIENTS, *PERTURBATIONS])
@pytest.mark.parametrize("unit", ["conv1:2", "norm1:2@1,1"])
def test_units_that_a_layer_cannot_reach(name, unit, small, inputs):
    with pytest.raises(ExplanationError, match="does not depend on layer 'conv2'"):
        ask(name, small, inputs, unit, layer="conv2")


@pytest.mark.parametrize("name", TARGETED)
def test_a_target_for_each_image(name, small, inputs):
    settings = {"score": "logit"} if name == "reciprocam" else {}
    targets = ["dog", "relu2:1", "cat - bird"]
    together = ask(name, small, inputs, targets, layer=early(name), **settings)
    for row, target in enumerate(targets):
        close(
            together.values[row], ask(name, small, inputs[row, None], target, layer=early(name), **settings).values[0]
        )


@pytest.mark.parametrize("name", ["gradcam", "eigencam"])
def test_a_table_is_no_layer_to_draw_whatever_the_number_of_pictures(name, inputs):
    model = model_of(Tabled())
    for some, said in ((inputs[:1], "not made from the picture"), (inputs, "no spatial extent")):
        with pytest.raises(UsageError, match=said):
            ask(name, model, some, 1, layer="table")

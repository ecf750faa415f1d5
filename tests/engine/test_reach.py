"""Which layers' places reach the target, where a class token may be all that the classifier reads."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torchvision.models import mobilenet_v2, resnet18

from cnnviz import gradcam
from cnnviz.core.layer import Arrangement, Layer, Layers
from cnnviz.engine.layers import entrance, last_reached, observe_layers, reaches_places
from cnnviz.errors import ExplanationError
from tests.support.networks import Encoded, model_of, swin, vit

TOKENS = Arrangement("NTC", (2, 2), 3, prefix=1)
PLACES_ONLY = Arrangement("NTC", (2, 2), 3)


def gradient(*tokens):
    given = torch.zeros(1, 5, 3)
    given[:, list(tokens)] = 1
    return given


@pytest.mark.parametrize(
    ("tokens", "arrangement", "reaches"),
    [
        ((0,), TOKENS, False),
        ((0, 3), TOKENS, True),
        ((4,), TOKENS, True),
        ((), TOKENS, True),  # nothing depends on it at all: a blank map, not a wrong layer
        ((0,), PLACES_ONLY, True),
        ((0,), None, True),
    ],
)
def test_places_and_other_tokens(tokens, arrangement, reaches):
    assert reaches_places(gradient(*tokens), arrangement) is reaches


def test_the_last_reached_layer_is_looked_for_backwards():
    layers = Layers(Layer(f"block{each}", "Block", (5, 3), 1, 0, TOKENS, each) for each in range(40))
    asked = []

    def gradients(names):
        asked.extend(names)
        return {name: gradient(0, 2 if name in ("block5", "block7") else 0) for name in names}, dict.fromkeys(
            names, TOKENS
        )

    assert last_reached(layers, gradients, before="block39") == ("block7", 1)
    assert asked[0] == "block38"
    assert "block39" not in asked
    assert last_reached(layers, gradients, before="block5") == (None, 0)
    assert last_reached(layers, gradients, last=["block7"]) == ("block5", 1)
    assert asked[-1] == "block7"


def test_what_an_attention_makes_of_tokens_is_the_last_resort():
    kinds = ("LayerNorm", "Linear", "Linear")
    layers = Layers(Layer(f"{kind}{at}", kind, (5, 3), 1, 0, TOKENS, at) for at, kind in enumerate(kinds))

    def reached_at(*names):
        return lambda asked: ({name: gradient(2) for name in asked if name in names}, dict.fromkeys(asked, TOKENS))

    assert last_reached(layers, reached_at("LayerNorm0", "Linear1"), before="Linear2")[0] == "LayerNorm0"
    assert last_reached(layers, reached_at("Linear1"), before="Linear2")[0] == "Linear1"


def test_the_layer_that_reaches_the_most_targets_is_taken():
    layers = Layers(Layer(f"block{each}", "Block", (5, 3), 1, 0, TOKENS, each) for each in range(3))
    reached = {"block2": (1, 0), "block1": (2, 3), "block0": (4, 4)}

    def gradients(names):
        held = {name: torch.cat([gradient(token) for token in reached[name]]) for name in names}
        return held, dict.fromkeys(names, TOKENS)

    assert last_reached(layers, gradients, count=2) == ("block1", 2)
    reached["block1"] = reached["block0"] = (0, 1)
    assert last_reached(layers, gradients, count=2) == ("block2", 1)


@pytest.mark.parametrize(
    ("build", "layer"),
    [
        (vit, "encoder.layers.encoder_layer_1.ln_1"),
        (Encoded, "encoder.layers.0"),
        (lambda: Encoded(class_token=False), "encoder"),
        (swin, "permute"),
    ],
)
def test_the_automatic_layer_of_transformers(build, layer, inputs):
    model = model_of(build())
    first, again = (gradcam(model, inputs, 1) for _ in range(2))
    assert first.layer == again.layer == layer
    assert (first.values == again.values).all()
    assert (first.values == gradcam(model, inputs, 1, layer=layer).values).all()
    assert first.values.any()


@pytest.mark.parametrize(
    ("build", "layer"), [(vit, "encoder.ln"), (vit, "encoder.layers.encoder_layer_1"), (Encoded, "encoder")]
)
def test_a_layer_of_which_only_the_class_token_is_read_is_a_clear_error(build, layer, inputs):
    with pytest.raises(ExplanationError, match=f"Only tokens without a place reach the target from layer '{layer}'"):
        gradcam(model_of(build()), inputs, 1, layer=layer)


def test_a_layer_inside_torchs_encoder_is_hooked_in_spite_of_its_fast_path(inputs):
    net = Encoded(class_token=False).eval()
    found = gradcam(model_of(net), inputs, 1, layer="encoder.layers.0.linear1", relu=False)
    assert torch.backends.mha.get_fastpath_enabled()
    held = []
    net.encoder.layers[0].linear1.register_forward_hook(lambda part, given, output: held.append(output))
    torch.backends.mha.set_fastpath_enabled(False)
    logits = net(inputs)
    torch.backends.mha.set_fastpath_enabled(True)
    (slope,) = torch.autograd.grad(logits[:, 1].sum(), held[0])
    expected = (held[0] * slope.mean(dim=1, keepdim=True)).sum(dim=2).reshape(3, 4, 4)
    torch.testing.assert_close(torch.tensor(found.values), expected.detach())


@pytest.mark.parametrize(
    ("build", "name", "found"),
    [
        (mobilenet_v2, "features", "features.18"),
        (mobilenet_v2, "features.18", "features.18"),
        (mobilenet_v2, "features.18.0", "features.18.0"),
        (mobilenet_v2, "features.0", "features.0.2"),
        (mobilenet_v2, "features.0.0", "features.0.0"),
        (resnet18, "layer4", "layer4"),
        (resnet18, "layer4#1", "layer4"),
        (resnet18, "conv1", "conv1"),
    ],
)
def test_where_a_units_places_are_looked_for(build, name, found):
    layers = observe_layers(build(num_classes=3).eval(), torch.zeros(1, 3, 64, 64))
    assert entrance(layers, name) == found


class Held(nn.Module):
    """All convolutions in one module, whose parts are two deep."""

    def __init__(self) -> None:
        super().__init__()
        first = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True))
        self.features = nn.Sequential(first, nn.Sequential(nn.Conv2d(4, 6, 3), nn.ReLU(inplace=True)))
        self.head = nn.Linear(6, 3)

    def forward(self, inputs):
        return self.head(self.features(inputs).mean(dim=(2, 3)))


def test_a_unit_of_a_layer_that_holds_them_all():
    torch.manual_seed(0)
    net, inputs = Held().double().eval(), torch.randn(2, 3, 12, 12, dtype=torch.float64)
    found = gradcam(model_of(net, labels=list("abc")), inputs, "features:2", relu=False)
    activation = net.features[0](inputs).detach().requires_grad_()
    value = net.features[1](activation)[:, 2].mean(dim=(1, 2))
    (slope,) = torch.autograd.grad(value.sum(), activation)
    want = (slope.mean(dim=(2, 3), keepdim=True) * activation).sum(dim=1)
    assert {one.layer for one in found} == {"features.0"}
    torch.testing.assert_close(torch.from_numpy(found.values), want.detach().float())
    torch.testing.assert_close(torch.tensor(found.scores), value.detach().float(), check_dtype=False)


@pytest.mark.parametrize("unit", ["features.0.0:1", "features.0.0:1@2,2"])
def test_a_unit_with_nothing_before_it(unit):
    with pytest.raises(ExplanationError, match="No layer with places ends before"):
        gradcam(model_of(Held().eval(), labels=list("abc")), torch.randn(1, 3, 12, 12), unit)

"""Activation functions called between modules: layers of their own, and what the automatic layer takes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import cnnviz
from cnnviz.errors import CnnvizError
from tests.support.networks import model_of

RECTIFY = {
    "relu": functional.relu,
    "inplace": lambda x: functional.relu(x, inplace=True),
    "method": lambda x: x.relu_(),
    "statement": lambda x: (x.relu_(), x)[1],  # the result is thrown away, the tensor goes on
    "clamp": lambda x: x.clamp(min=0),
    "dropout": lambda x: torch.relu(functional.dropout(x, 0.5, training=False)),
}
NAMES = dict.fromkeys(RECTIFY, "b+relu") | {"clamp": "b+clamp"}


class Functional(nn.Module):
    """Two convolutions, rectified by functions."""

    def __init__(self, rectify, *, dtype=torch.float32):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.fc = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 16, 3, 2, 1), nn.Linear(16, 5)
        self.rectify = rectify
        self.to(dtype)

    def forward(self, x):
        return self.fc(self.rectify(self.b(self.rectify(self.a(x)))).mean((2, 3)))


class WithModules(Functional):
    """The same with modules in the functions' place."""

    def __init__(self):
        super().__init__(None)
        self.relu_a, self.relu_b = nn.ReLU(), nn.ReLU()

    def forward(self, x):
        return self.fc(self.relu_b(self.b(self.relu_a(self.a(x)))).mean((2, 3)))


def images():
    return torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def of(net):
    return model_of(net.eval(), labels=list("abcde"))


@pytest.mark.parametrize("spelling", RECTIFY)
def test_the_automatic_layer_is_what_the_network_uses_next(spelling):
    want = cnnviz.gradcam(of(WithModules()), images(), 1)
    model = of(Functional(RECTIFY[spelling]))
    for _ in range(2):
        found = cnnviz.gradcam(model, images(), 1)
        assert (want.layer, found.layer) == ("relu_b", NAMES[spelling])
        assert np.array_equal(found.values, want.values)
        owner, function = NAMES[spelling].split("+")
        said = f"layer {owner} after its {function} ('{owner}+{function}'), chosen automatically: the last spatial"
        assert found.checks[0] == f"{said} layer that the target depends on"


def test_a_layer_that_is_named_stays_what_it_was():
    model = of(Functional(RECTIFY["relu"]))
    before, after = (cnnviz.gradcam(model, images(), 1, layer=name, relu=False).values for name in ("b", "b+relu"))
    net, x = model.module, images()
    activation = net.b(functional.relu(net.a(x))).detach().requires_grad_()
    logits = net.fc(functional.relu(activation).mean((2, 3)))
    (slope,) = torch.autograd.grad(logits[:, 1].sum(), activation)
    want = (slope.mean((2, 3), keepdim=True) * activation).sum(1).detach().numpy()
    np.testing.assert_allclose(before, want, atol=1e-7)
    assert abs(before - after).max() > 1e-3


@pytest.mark.parametrize("spelling", ["relu", "inplace", "statement"])
def test_every_question_takes_the_name(spelling):
    one, other = of(Functional(RECTIFY[spelling])), of(WithModules())
    x = images()
    for method in ("eigencam", "ablationcam", "reciprocam", "scorecam", "layercam", "gradcam"):
        ask = getattr(cnnviz, method)
        target = () if method == "eigencam" else (1,)
        found, want = ask(one, x, *target, layer="b+relu"), ask(other, x, *target, layer="relu_b")
        np.testing.assert_allclose(found.values, want.values, atol=1e-6, err_msg=method)
        np.testing.assert_array_equal(ask(one, x, *target).values, found.values, err_msg=method)
    np.testing.assert_array_equal(
        cnnviz.features(one, x, layer="a+relu").values, cnnviz.features(other, x, layer="relu_a").values
    )
    np.testing.assert_allclose(
        cnnviz.saliency(one, x, "b+relu:3").values, cnnviz.saliency(other, x, "relu_b:3").values, atol=1e-7
    )
    np.testing.assert_allclose(
        cnnviz.gradcam(one, x, "b+relu:3").values, cnnviz.gradcam(other, x, "relu_b:3").values, atol=1e-7
    )


def test_the_layers_list_a_name_for_both_and_one_for_a_module():
    layers = of(Functional(RECTIFY["relu"])).layers
    assert list(layers) == ["a", "a+relu", "b", "b+relu", "fc"]
    assert [layer.order for layer in layers.values()] == [1, 2, 3, 4, 5]
    made = layers["b+relu"]
    assert (made.kind, made.function, made.shape, made.parameters) == ("relu()", True, layers["b"].shape, 0)
    assert made.field == layers["b"].field
    assert list(of(WithModules()).layers) == ["a", "b", "fc", "relu_a", "relu_b"]


def test_a_function_whose_result_a_module_returns_is_that_module():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x):
            return functional.relu(self.conv(x), inplace=True)

    class Blocks(nn.Module):
        def __init__(self):
            super().__init__()
            self.block, self.fc = Block(), nn.Linear(4, 5)

        def forward(self, x):
            return self.fc(self.block(x).mean((2, 3)))

    model = of(Blocks())
    assert list(model.layers) == ["block", "block.conv", "fc"]
    assert cnnviz.gradcam(model, images(), 1).layer == "block"


def test_what_lies_between_a_layer_and_its_function():
    class Between(Functional):
        def forward(self, x):
            first = functional.max_pool2d(self.a(x), 2)
            return self.fc(functional.relu(self.b(functional.relu(first)) + 1).mean((2, 3)))

    model = of(Between(None))
    assert model.layers_on((16, 16))["a+relu"].shape == (8, 4, 4)
    found = cnnviz.gradcam(model, images(), 1, relu=False)
    net, x = model.module, images()
    made = functional.relu(net.b(functional.relu(functional.max_pool2d(net.a(x), 2))) + 1)
    want = (net.fc.weight[1][:, None, None] / made[0, 0].numel() * made).sum(1)
    np.testing.assert_allclose(found.values, want.detach().numpy(), atol=1e-7)


def test_a_function_that_is_not_called_is_one_sentence():
    model = of(Functional(RECTIFY["relu"]))
    with pytest.raises(CnnvizError, match=r"'b\+gelu'"):
        cnnviz.gradcam(model, images(), 1, layer="b+gelu")
    with pytest.raises(CnnvizError, match=r"c\+relu"):
        cnnviz.gradcam(model, images(), 1, layer="c+relu")


def test_nothing_is_left_on_the_network():
    net = Functional(RECTIFY["inplace"]).eval()
    before = net(images())
    cnnviz.ablationcam(of(net), images(), 1)
    with pytest.raises(CnnvizError):
        cnnviz.gradcam(of(net), images(), 1, layer="b+gelu")
    assert not any(part._forward_hooks or part._forward_pre_hooks or "forward" in vars(part) for part in net.modules())
    assert torch.equal(net(images()), before)


class TwoBranches(nn.Module):
    """A detector's branches: classes, and boxes after them."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body, self.cls, self.box = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 4, 1), nn.Conv2d(8, 4, 1)

    def forward(self, x):
        made = functional.relu(self.body(x))
        classes, boxes = self.cls(made), self.box(made)
        return torch.cat((boxes.flatten(2).amax(2), classes.flatten(2).amax(2)), 1)


@pytest.mark.parametrize(("target", "layer"), [(5, "cls"), (1, "box"), ([5, 6], "cls"), ([5, 1], "body+relu")])
@pytest.mark.parametrize("before", [5, 1])
def test_a_gradient_of_zeros_does_not_reach(target, layer, before):
    model = model_of(TwoBranches().eval(), labels=list("abcdefgh"))
    cnnviz.gradcam(model, images(), before)  # what was asked before does not matter
    found = cnnviz.gradcam(model, images(), target, relu=False)
    assert found.layer == layer
    assert abs(found.values).reshape(2, -1).max(1).all()
    assert np.array_equal(found.values, cnnviz.gradcam(model, images(), target, layer=layer, relu=False).values)
    assert cnnviz.ablationcam(model, images(), target).layer == layer


def test_a_target_that_nothing_moves_keeps_the_last_layer():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)).eval()
    net[4].weight.data.zero_()
    found = cnnviz.gradcam(of(net), images(), 1)
    assert found.layer == "1"
    assert not found.values.any()
    assert "the gradient of 'b' is zero at all of layer 1, so its map is blank" in found.checks


class Aux(nn.Module):
    """An Identity hands the encoder's very tensor to a decoder; the classes are made from the encoder."""

    def __init__(self, passing, *, module):
        super().__init__()
        torch.manual_seed(0)
        self.enc, self.act = nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU() if module else functional.relu
        self.centre, self.dec, self.head = passing, nn.Conv2d(8, 2, 1), nn.Linear(8, 5)

    def forward(self, x):
        made = self.act(self.enc(x))
        self.dec(self.centre(made))
        return self.head(made.mean((2, 3)))


@pytest.mark.parametrize("passing", [nn.Identity(), nn.Dropout(0.5), nn.Sequential(nn.Identity())])
def test_a_module_that_hands_on_the_same_tensor(passing):
    model = of(Aux(passing, module=True))
    found = cnnviz.gradcam(model, images(), 1, relu=False)
    assert found.layer == "act"
    made = functional.relu(model.module.enc(images()))
    want = (model.module.head.weight[1][:, None, None] / 64 * made).sum(1).detach().numpy()
    np.testing.assert_allclose(found.values, want, atol=1e-7)
    assert cnnviz.gradcam(of(Aux(passing, module=False)), images(), 1).layer == "enc"


def test_a_branch_beside_the_layer_is_said():
    class Streams(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.one, self.two, self.fc = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3), nn.Linear(8, 5)

        def forward(self, x):
            pooled = [functional.relu(part(x)).mean((2, 3)) for part in (self.one, self.two)]
            return self.fc(torch.cat(pooled, 1))

    model = of(Streams())
    for _ in range(2):
        checks = cnnviz.gradcam(model, images(), 1).checks
        assert "the target also depends on one+relu, which bypasses layer two+relu and is not in this map" in checks
    assert not any("bypasses layer" in check for check in cnnviz.gradcam(of(WithModules()), images(), 1).checks)

"""Gradients that a network cuts inside its own forward go on after the layer, as by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

import cnnviz
from cnnviz.errors import ExplanationError
from tests.support.networks import model_of

BLOCKS = {
    "no_grad": torch.no_grad,
    "set_grad_enabled": lambda: torch.set_grad_enabled(mode=False),
    "inference_mode": torch.inference_mode,
}


class Frozen(nn.Module):
    """A backbone that forward freezes, and a head that learns."""

    def __init__(self, how: str, *, pooled: bool = False, stem: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.how, self.pooled = how, pooled
        self.stem = nn.Conv2d(3, 3, 3, padding=1) if stem else nn.Identity()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU())
        self.fc = nn.Linear(16, 5)

    def forward(self, x):
        x = self.stem(x)
        if self.how == "detach":
            return self.fc(self.body(x).detach().mean((2, 3)))
        with BLOCKS[self.how]():
            x = self.body(x)
            x = x.mean((2, 3)) if self.pooled else x
        return self.fc(x if self.pooled else x.mean((2, 3)))


def by_hand(net: Frozen, inputs: torch.Tensor, last: int) -> torch.Tensor:
    with torch.no_grad():
        below = net.body[: last + 1](net.stem(inputs))
    below.requires_grad_()
    logits = net.fc(net.body[last + 1 :](below).mean((2, 3)))
    (gradient,) = torch.autograd.grad(logits[:, 1].sum(), below)
    return (gradient.mean((2, 3), keepdim=True) * below).sum(1).detach()


@pytest.mark.parametrize("stem", [False, True])
@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize("how", [*BLOCKS, "detach"])
@pytest.mark.parametrize("layer", ["body.3", "body.2", None])
def test_grad_cam_of_a_frozen_backbone(layer, how, pooled, stem, inputs):
    net = Frozen(how, pooled=pooled, stem=stem).eval()
    model = model_of(net, labels=None)
    right = by_hand(net, inputs, 2 if layer == "body.2" else 3)
    assert right.abs().max() > 1e-4
    for _ in range(2):
        found = cnnviz.gradcam(model, inputs, 1, layer=layer)
        torch.testing.assert_close(torch.from_numpy(found.values), right)
        assert any("detaches" in check for check in found.checks) == (how == "detach")
    assert not any(weight.grad is not None for weight in net.parameters())
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()


@pytest.mark.parametrize("how", [*BLOCKS, "detach"])
@pytest.mark.parametrize("name", ["ablationcam", "reciprocam", "scorecam", "eigencam", "occlusion"])
def test_methods_without_gradients_need_none(name, how, inputs):
    net, plain = Frozen(how).eval(), Frozen("set_grad_enabled").eval()
    plain.forward = lambda x: plain.fc(plain.body(x).mean((2, 3)))
    found, right = (getattr(cnnviz, name)(model_of(each, labels=None), inputs[:1]).values for each in (net, plain))
    torch.testing.assert_close(torch.from_numpy(found), torch.from_numpy(right))


class Hardened(Frozen):
    """Everything after the backbone runs without gradients."""

    def forward(self, x):
        x = self.body(x)
        with torch.no_grad():
            return self.fc(x.mean((2, 3)))


def test_a_head_without_gradients_is_explained_and_methods_without_any_go_on(inputs):
    model = model_of(Hardened("no_grad").eval(), labels=None)
    with pytest.raises(ExplanationError, match=r"'body' or any before.*ablationcam and occlusion need none"):
        cnnviz.gradcam(model, inputs, 1)
    found = cnnviz.ablationcam(model, inputs, 1)
    assert found.layer == "body"
    assert abs(found.values).max() > 0
    assert cnnviz.eigencam(model, inputs).layer == "body"


class Straight(Frozen):
    """A straight-through estimator detaches on purpose; its gradient is left as it is."""

    def forward(self, x):
        x = self.body(x)
        x = x + (x.sign() * 2 - x).detach()
        return self.fc(x.mean((2, 3)))


class Gated(Frozen):
    """A gate is computed without gradients after the layer."""

    def forward(self, x):
        x = self.body(x)
        with torch.no_grad():
            gate = functional.sigmoid(x.mean((2, 3), keepdim=True))
        return self.fc((x * gate).mean((2, 3)))


@pytest.mark.parametrize("kind", [Straight, Gated])
def test_what_a_network_cuts_on_purpose_stays_cut(kind, inputs):
    net = kind("no_grad").eval()
    below = net.body(inputs).detach().requires_grad_()
    scale = 1.0 if kind is Straight else functional.sigmoid(below.detach().mean((2, 3), keepdim=True))
    right = (net.fc.weight[1][None, :, None, None] / 64 * scale * below).sum(1).detach()
    found = cnnviz.gradcam(model_of(net, labels=None), inputs, 1, layer="body.3")
    torch.testing.assert_close(torch.from_numpy(found.values), right)
    assert not any("detaches" in check for check in found.checks)


@pytest.mark.parametrize("how", [*BLOCKS, "detach"])
@pytest.mark.parametrize("name", ["saliency", "integrated_gradients"])
def test_gradients_of_the_input_pass_a_frozen_backbone(name, how, inputs):
    net, plain = Frozen(how).eval(), Frozen("set_grad_enabled").eval()
    plain.forward = lambda x: plain.fc(plain.body(x).mean((2, 3)))
    found, right = (getattr(cnnviz, name)(model_of(each, labels=None), inputs, 1) for each in (net, plain))
    torch.testing.assert_close(torch.from_numpy(found.values), torch.from_numpy(right.values))
    assert abs(right.values).max() > 0
    assert any("cuts gradients off inside its forward" in check for check in found.checks) == (name == "saliency")

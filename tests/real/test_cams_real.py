"""The class activation maps of two trained networks, against captum and against recomputation the long way."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from captum.attr import LayerGradCam, LayerGradientXActivation
from torch import nn
from torch.nn import functional

import cnnviz
from cnnviz import read_picture
from cnnviz.catalogue import load

pytestmark = pytest.mark.real
NETWORKS = {"squeezenet1_0": ("features.9", "features.12"), "mobilenet_v2": ("features.7", "features.18")}
CASES = [(name, layer) for name, layers in NETWORKS.items() for layer in layers]


@pytest.fixture(scope="module")
def models(real):
    return {name: cnnviz.load_model(name, device="cpu") for name in NETWORKS}


@pytest.fixture(scope="module")
def photos(real):
    return [real / "photos" / f"{name}.jpg" for name in ("samoyed", "macaw")]


@pytest.fixture(scope="module")
def inputs(models, photos):
    """The photographs at 160 pixels: small, but still recognised."""
    whole = torch.stack([models["squeezenet1_0"].preprocess(read_picture(path))[0] for path in photos])
    return functional.interpolate(whole, size=(160, 160), mode="bilinear", align_corners=False, antialias=True)


def close(found, expected, tolerance=1e-4):
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max()


def whole_graph(net: nn.Module, layer: str, inputs, score):
    """Activation and gradient of a layer by a plain forward and backward through the whole network."""
    held = {}

    def keep(_part, _inputs, output):
        held["a"] = output
        return output.clone()

    handle = net.eval().get_submodule(layer).register_forward_hook(keep)
    with torch.enable_grad():
        scores = score(net(inputs.clone().requires_grad_()))
    handle.remove()
    (gradient,) = torch.autograd.grad(scores.sum(), held["a"], create_graph=True)
    return held["a"], gradient, scores.detach()


@pytest.mark.parametrize(("name", "layer"), CASES)
def test_gradcam_and_hirescam_are_captums(name, layer, models, inputs):
    model, c = models[name], 258
    part = model.module.eval().get_submodule(layer)
    expected = LayerGradCam(model.module, part).attribute(inputs, c, relu_attributions=False)[:, 0]
    close(cnnviz.gradcam(model, inputs, c, layer=layer).values, expected.detach())
    product = LayerGradientXActivation(model.module, part).attribute(inputs, c).sum(dim=1)
    close(cnnviz.hirescam(model, inputs, c, layer=layer).values, product.detach())


def share(a, g):
    """Equation 19 of Grad-CAM++ in double precision, where the squares do not underflow."""
    a, g = a.double(), g.double()
    alpha = torch.where(g != 0, g**2 / (2 * g**2 + a.sum(dim=(2, 3), keepdim=True) * g**3), 0)
    return ((alpha * g.clamp_min(0)).sum(dim=(2, 3), keepdim=True) * a).sum(dim=1)


def axiomatic(a, g):
    weights = (g * a).double().sum(dim=(2, 3), keepdim=True) / a.double().sum(dim=(2, 3), keepdim=True)
    return (weights.nan_to_num() * a).sum(dim=1)


def component(values):
    found = []
    for each in values.detach().double().numpy():
        left, strengths, _ = np.linalg.svd(each.reshape(len(each), -1).T, full_matrices=False)
        found.append((left[:, 0] * strengths[0]).reshape(each.shape[1:]))
    return torch.from_numpy(np.stack(found))


def turned(found, like):
    return found * (found * like).sum(dim=(1, 2), keepdim=True).sign()


FORMULAS = {
    "gradcam_plusplus": share,
    "xgradcam": axiomatic,
    "layercam": lambda a, g: (g.clamp_min(0) * a).sum(dim=1),
    "eigengradcam": lambda a, g: turned(component(a * g), (a * g).sum(dim=1)),
    "eigencam": lambda a, g: turned(component(a), a.abs().sum(dim=1)),
}


@pytest.mark.parametrize(("name", "layer"), CASES)
@pytest.mark.parametrize("method", FORMULAS)
def test_the_formula_on_the_whole_graphs_gradients(method, name, layer, models, inputs):
    model, c = models[name], 88
    activation, gradient, _ = whole_graph(model.module, layer, inputs, lambda logits: logits[:, c])
    expected = FORMULAS[method](activation.detach(), gradient.detach())
    asked = load(method)
    given = (model, inputs) if method == "eigencam" else (model, inputs, c)
    if method == "xgradcam" and name == "mobilenet_v2":
        total, size = activation.sum(dim=(2, 3)).abs(), activation.abs().sum(dim=(2, 3))
        assert (total > 1e-5 * size)[size > 0].all(), "no channel's activations cancel here"
    close(asked(*given, layer=layer).values, expected, 1e-3)


@pytest.mark.parametrize("name", NETWORKS)
def test_smooth_gradcam_plusplus_averages_over_noisy_copies(name, models, inputs):
    model, c, layer = models[name], 258, NETWORKS[name][1]
    found = cnnviz.smooth_gradcam_plusplus(model, inputs, c, layer=layer, samples=3, noise=0.15, seed=5).values
    generator = torch.Generator().manual_seed(5)
    gradients = []
    for _ in range(3):
        drawn = torch.randn(inputs.shape[1:], generator=generator)
        noisy = torch.stack([one + 0.15 * (one.max() - one.min()) * drawn for one in inputs])
        gradients.append(whole_graph(model.module, layer, noisy, lambda logits: logits[:, c])[1].detach().double())
    activation = whole_graph(model.module, layer, inputs, lambda logits: logits[:, c])[0].detach().double()
    first, second, third = (sum(g**power for g in gradients) / 3 for power in (1, 2, 3))
    alpha = torch.where(second > 0, second / (2 * second + activation.sum(dim=(2, 3), keepdim=True) * third), 0)
    weights = (alpha * first.clamp_min(0)).sum(dim=(2, 3), keepdim=True)
    close(found, (weights * activation).sum(dim=1), 1e-3)


@pytest.mark.parametrize(("name", "layer"), [("squeezenet1_0", "features.9"), ("mobilenet_v2", "features.14")])
def test_shapleycam_is_the_double_backwards(name, layer, models, inputs):
    model, c = models[name], 258

    def residual(logits):
        return logits[:, c] + logits.log_softmax(dim=1)[:, c]

    activation, gradient, _ = whole_graph(model.module, layer, inputs, residual)
    (bend,) = torch.autograd.grad((gradient * activation.detach()).sum(), activation)
    weights = (gradient - bend / 2).mean(dim=(2, 3), keepdim=True)
    found = cnnviz.shapleycam(model, inputs, c, layer=layer).values
    close(found, (weights * activation).sum(dim=1).detach())
    logit = cnnviz.shapleycam(model, inputs, c, layer=layer, score="logit").values
    assert np.array_equal(logit, cnnviz.gradcam(model, inputs, c, layer=layer).values)

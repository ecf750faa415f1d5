"""Parts that cannot be looked into: passed over, or one sentence."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

import cnnviz
from cnnviz.errors import ExplanationError, ModelError, UsageError
from tests.support.networks import model_of

pytestmark = [pytest.mark.filterwarnings(f"ignore::{kind}") for kind in ("DeprecationWarning", "UserWarning")]


def plain():
    torch.manual_seed(0)
    stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU())
    return nn.Sequential(stem, nn.Conv2d(8, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))


def compiled(how):
    net = plain().eval()
    net[0] = torch.jit.script(net[0]) if how == "scripted" else torch.jit.trace(net[0], torch.rand(1, 3, 16, 16))
    return net.eval()


@pytest.fixture
def given():
    return torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("how", ["scripted", "traced"])
def test_a_torchscript_part_is_left_alone_and_all_else_works(how, given):
    known, model = model_of(plain().eval()), model_of(compiled(how))
    assert model.preprocess.channels == 3
    for method in ("gradcam", "ablationcam", "saliency", "occlusion", "eigencam"):
        ask = getattr(cnnviz, method)
        target = () if method == "eigencam" else (1,)
        want, found = ask(known, given, *target), ask(model, given, *target)
        assert getattr(found, "layer", None) == getattr(want, "layer", None)
        np.testing.assert_allclose(found.values, want.values, atol=1e-5, err_msg=method)
    assert cnnviz.fullgrad(model, given, 1).values.shape == (2, 16, 16)
    assert model.layers["0"].shape is None
    assert model.layers["1"].shape == (8, 14, 14)


def test_a_torchscript_part_that_is_named(given):
    with pytest.raises(UsageError, match=r"'0\.0' is compiled by TorchScript"):
        cnnviz.gradcam(model_of(compiled("scripted")), given, 1, layer="0.0")


def test_buffers_of_a_torchscript_part_come_back(given):
    net = compiled("scripted")
    before = copy.deepcopy(net.state_dict())
    net.train()
    cnnviz.gradcam(model_of(net), given, 1)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(part.training for part in net.modules())


def test_weights_that_are_not_made_yet():
    with pytest.raises(ModelError, match=r"lazy layers .* such as '0\.weight'"):
        cnnviz.Model(nn.Sequential(nn.LazyConv2d(4, 3), nn.ReLU()))


class Exchanged(nn.Module):
    """Two resolutions in a list go through a stage and come back as a list, as in HRNet."""

    class Stage(nn.Module):
        def __init__(self):
            super().__init__()
            self.fine, self.coarse = nn.Conv2d(8, 8, 3, 1, 1), nn.Conv2d(8, 8, 3, 2, 1)

        def forward(self, maps):
            return [functional.relu(self.fine(maps[0])), functional.relu(self.coarse(maps[1]))]

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.stage, self.fc = nn.Conv2d(3, 8, 3, 2, 1), self.Stage(), nn.Linear(8, 5)

    def forward(self, x):
        fine, coarse = self.stage([functional.relu(self.stem(x))] * 2)
        return self.fc(fine.mean((2, 3)) + coarse.mean((2, 3)))


def test_a_list_of_maps_is_its_first_and_the_others_are_said(given):
    model = model_of(Exchanged().eval())
    found = cnnviz.gradcam(model, given, 1, relu=False)
    net = model.module
    fine = functional.relu(net.stage.fine(functional.relu(net.stem(given))))
    want = (net.fc.weight[1][:, None, None] / 64 * fine).sum(1).detach().numpy()
    assert found.layer == "stage"
    np.testing.assert_allclose(found.values, want, atol=1e-6)
    assert any("also depends on stage.coarse+relu, which bypasses layer stage" in check for check in found.checks)


def quantised(part):
    """A network of which one part computes in whole numbers."""
    engine = next(name for name in torch.backends.quantized.supported_engines if name != "none")
    torch.backends.quantized.engine = engine
    net = plain().eval()
    if part == "head":
        return torch.ao.quantization.quantize_dynamic(net, {nn.Linear}, dtype=torch.qint8)
    tools = torch.ao.quantization
    net[0] = nn.Sequential(tools.QuantStub(), nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), tools.DeQuantStub()).eval()
    net[0].qconfig = tools.get_default_qconfig(engine)
    tools.prepare(net[0], inplace=True)
    net(torch.rand(2, 3, 16, 16))
    tools.convert(net[0], inplace=True)
    return net.eval()


def test_quantised_layers_below_do_not_matter(given):
    model = model_of(quantised("stem"))
    found = cnnviz.gradcam(model, given, 1, relu=False)
    made = model.module[:3](given)
    want = (model.module[5].weight[1][:, None, None] / 36 * made).sum(1).detach().numpy()
    assert found.layer == "2"
    np.testing.assert_allclose(found.values, want, atol=1e-6)


def test_quantised_layers_above_have_no_gradient(given):
    model = model_of(quantised("head"))
    with pytest.raises(ExplanationError, match="quantised or compiled parts"):
        cnnviz.gradcam(model, given, 1)
    for ask in (cnnviz.saliency, cnnviz.guided_backprop, cnnviz.deconvnet, cnnviz.fullgrad):
        with pytest.raises(ExplanationError, match="No gradient of the target reaches the picture"):
            ask(model, given, 1)
    assert np.ptp(cnnviz.occlusion(model, given, 1).values) > 0


class Checkpointed(nn.Module):
    """Part of it runs without a graph, and anew in the backward."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.body, self.fc = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 3), nn.Linear(8, 5)

    def forward(self, x):
        made = checkpoint(self.body, functional.relu(self.stem(x)), use_reentrant=True)
        return self.fc(functional.relu(made).mean((2, 3)))


def test_reentrant_checkpointing(given):
    net = Checkpointed().eval()
    found = cnnviz.gradcam(model_of(net), given, 1, relu=False)
    made = functional.relu(net.body(functional.relu(net.stem(given))))
    want = (net.fc.weight[1][:, None, None] / 36 * made).sum(1).detach().numpy()
    np.testing.assert_allclose(found.values, want, atol=1e-6)
    with pytest.raises(ExplanationError, match="checkpoint"):
        cnnviz.saliency(model_of(net), given, 1)
    with pytest.raises(ExplanationError, match="checkpoint"):
        cnnviz.fullgrad(model_of(net), given, 1)

"""Networks that are not functions of their picture: noticed, said by every method, and asked alone where that helps."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import cnnviz
from tests.support.networks import model_of


class Odd(nn.Module):
    """Features that are changed by some function before the head."""

    def __init__(self, change) -> None:
        super().__init__()
        self.change = change
        self.body = nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.ReLU())
        self.norm, self.inner, self.fc = nn.BatchNorm2d(6), nn.Identity(), nn.Linear(6, 5)

    def forward(self, x):
        return self.fc(self.inner(self.change(self, self.body(x))).mean((2, 3)))


def drawn(net, x):
    return x * (torch.rand(len(x), 1, 1, 1) > 0.5)


def decided(net, x):
    return x * 2 if torch.rand(()).item() > 0.5 else x


def batch_norm(net, x):
    return functional.batch_norm(x, net.norm.running_mean, net.norm.running_var, training=True)


RANDOM = {
    "dropout": lambda net, x: functional.dropout(x),
    "dropout of maps": lambda net, x: functional.dropout2d(x, training=True),
    "noise": lambda net, x: x + torch.randn_like(x),
    "stochastic depth": drawn,
    "a branch": decided,
}
STEADY = {
    "dropout that is off": lambda net, x: functional.dropout(x, training=net.training),
    "dropout of nothing": lambda net, x: functional.dropout(x, 0.0),
    "dropout beside": lambda net, x: (functional.dropout(x), x)[1],
    "a generator": lambda net, x: x + torch.randn(1, 6, 1, 1, generator=torch.Generator().manual_seed(0)),
    "instance norm": lambda net, x: functional.instance_norm(x) + x,
    "batch norm": lambda net, x: net.norm(x),
}
BATCHED = {
    "always training": batch_norm,
    "no running statistics": lambda net, x: functional.batch_norm(x, None, None, training=True) + x,
}


@pytest.mark.parametrize("kind", RANDOM)
def test_random_networks_say_so(kind, inputs):
    model = model_of(Odd(RANDOM[kind]).eval())
    said = [check for check in cnnviz.gradcam(model, inputs, 1).checks if "answers differently each time" in check]
    assert len(said) == 1
    assert "its forward draws random numbers" in said[0]


class Always(nn.Module):
    """Dropout that forgets to ask whether the network trains."""

    def forward(self, x):
        return functional.dropout(x, 0.5)


def test_where_it_draws():
    net = Odd(lambda net, x: x)
    net.inner = Always()
    assert model_of(net.eval()).steadiness.random == "layer 'inner' draws random numbers (bernoulli)"


@pytest.mark.parametrize("name", ["saliency", "smoothgrad", "predict", "features", "eigencam", "occlusion", "dff"])
def test_every_method_says_it(name, inputs):
    model = model_of(Odd(RANDOM["noise"]).eval())
    assert any("differently each time" in check for check in getattr(cnnviz, name)(model, inputs).checks)


@pytest.mark.parametrize("kind", STEADY)
def test_steady_networks_say_nothing(kind, inputs):
    model = model_of(Odd(STEADY[kind]).eval())
    found = cnnviz.gradcam(model, inputs, 1)
    assert model.steadiness.checks == ()
    assert model.fixed_batch is None
    assert not any("differently" in check or "batch" in check for check in found.checks)


@pytest.mark.parametrize("kind", BATCHED)
@pytest.mark.parametrize("name", ["gradcam", "ablationcam", "saliency", "integrated_gradients", "occlusion"])
def test_pictures_are_asked_alone_where_the_batch_matters(name, kind, inputs):
    net = Odd(BATCHED[kind]).eval()
    model, kept = model_of(net), copy.deepcopy(net.state_dict())
    together, alone = (getattr(cnnviz, name)(model, some, 1) for some in (inputs, inputs[:1]))
    np.testing.assert_allclose(together.values[0], alone.values[0], rtol=1e-4, atol=1e-7)
    assert any("every picture was asked alone" in check for check in together.checks)
    assert all(torch.equal(value, kept[key]) for key, value in net.state_dict().items())


def test_a_map_of_a_network_that_norms_by_the_batch_is_that_of_the_picture_alone(inputs):
    net = Odd(BATCHED["no running statistics"]).eval()
    below = net.body(inputs[:1]).detach().requires_grad_()
    normed = functional.batch_norm(below, None, None, training=True) + below
    (gradient,) = torch.autograd.grad(net.fc(normed.mean((2, 3)))[0, 1], below)
    right = (gradient.mean((2, 3), keepdim=True) * below).sum(1).detach()
    found = cnnviz.gradcam(model_of(net), inputs, 1, layer="body")
    torch.testing.assert_close(torch.from_numpy(found.values[:1]), right)


@pytest.mark.parametrize(
    "change",
    [
        lambda net, x: x + torch.from_numpy(np.random.default_rng().normal(size=(1, 6, 1, 1))).float(),
        lambda net, x: x - x.mean(0, keepdim=True) / 2,
    ],
    ids=["numpy's numbers", "the batch's mean"],
)
def test_what_no_call_shows_is_found_by_one_more_forward(change, inputs):
    model = model_of(Odd(change).eval())
    assert model.steadiness.checks == ()
    for name in ("gradcam", "saliency"):
        checks = getattr(cnnviz, name)(model, inputs, 1).checks
        assert any("gives another answer for the same picture in another batch" in check for check in checks)


def test_a_warm_question_asks_once(inputs):
    class Counted(Odd):
        asked = 0

        def forward(self, x):
            type(self).asked += not x.is_meta
            return super().forward(x)

    model = model_of(Counted(lambda net, x: x).eval())
    cnnviz.gradcam(model, inputs, 1, layer="body")
    before = Counted.asked
    cnnviz.gradcam(model, inputs, 1, layer="body")
    assert Counted.asked == before + 1


RUNS: list[int] = []


class Caching(nn.Module):
    """Keeps what it computes in evaluation mode in plain attributes, emptied by ``train`` alone."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.scale, self.fc = nn.Conv2d(3, 6, 3), nn.Parameter(torch.ones(6)), nn.Linear(6, 5)
        self.table: dict[str, torch.Tensor] = {}
        self.rows: list[torch.Tensor] = []
        self.single = None
        self.written = torch.zeros(3)

    def train(self, mode=True):
        super().train(mode)
        self.table, self.rows, self.single = {}, [], None
        return self

    def forward(self, x):
        RUNS.append(len(x))
        self.written += 1
        self.new = x.mean()
        if "cpu" not in self.table:
            self.table["cpu"] = self.scale[:, None, None] * 2
            self.rows.append(self.scale * 1)
            self.single = self.scale + 1
        return self.fc((self.conv(x) * self.table["cpu"]).mean((2, 3)) + self.rows[0] * self.single)


@pytest.mark.parametrize("name", ["gradcam", "saliency", "occlusion", "ablationcam", "features", "predict"])
def test_caches_that_a_forward_fills_are_put_back(name, inputs):
    net = Caching()
    table, rows, written, before = net.table, net.rows, net.written, len(RUNS)
    getattr(cnnviz, name)(model_of(net), inputs)
    assert net.table is table == {}
    assert net.rows is rows == []
    assert net.single is None
    assert net.written is written
    assert torch.equal(written, torch.zeros(3))
    assert "new" not in vars(net)
    assert len(RUNS) > before
    copy.deepcopy(net)


def test_training_goes_on_as_if_nobody_had_asked(inputs):
    net = Caching()
    other = copy.deepcopy(net)
    cnnviz.gradcam(model_of(net), inputs, 1)
    for each in (net, other):
        optimiser = torch.optim.SGD(each.parameters(), 0.1)
        for _ in range(2):
            optimiser.zero_grad()
            each.train()(inputs).square().sum().backward()
            optimiser.step()
    assert all(torch.equal(one, two) for one, two in zip(net.parameters(), other.parameters(), strict=True))


def test_a_cache_of_the_users_own_stays(inputs):
    net = Caching().eval()
    with torch.no_grad():
        net(inputs)
    cached = net.table["cpu"]
    cnnviz.gradcam(model_of(net), inputs, 1)
    assert net.table["cpu"] is cached
    assert len(net.rows) == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["levit_128s", "tiny_vit_5m_224", "efficientformer_l1"])
def test_attention_biases_of_timm_are_put_back(name):
    timm = pytest.importorskip("timm")
    net = timm.create_model(name, num_classes=5)
    model = cnnviz.Model(net, mean=(0.5,) * 3, std=(0.5,) * 3)
    cnnviz.gradcam(model, torch.rand(1, 3, 224, 224), 1)
    assert not any(getattr(part, "attention_bias_cache", None) for part in net.modules())
    copy.deepcopy(net)

"""replay where it is not exact, where it fails, on batches of one size, and on exported networks."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from cnnviz import Model, ablationcam, load_model
from cnnviz.engine.replay import replay
from cnnviz.engine.undisturbed import undisturbed
from cnnviz.errors import ExplanationError
from tests.support.networks import Small, Twice, model_of
from tests.support.substituting import put_in, substituted
from tests.support.torchvision_nets import noise, torchvision_net


class OneByOne(nn.Module):
    """Calls a part once for each picture, so that a forward of several makes other calls than the recorded one."""

    def __init__(self) -> None:
        super().__init__()
        self.side, self.main = (nn.Conv2d(3, 4, 3, padding=1) for _ in range(2))
        self.last = nn.Conv2d(4, 4, 3, padding=1)
        self.fc = nn.Linear(4, 5)

    def forward(self, x):
        side = torch.cat([self.side(each[None]) for each in x])
        return self.fc(self.last(functional.relu(side + self.main(x))).mean(dim=(2, 3)))


class BatchFirstLast(nn.Module):
    """A side path whose first axis is not the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.side = nn.Conv2d(3, 4, 3, padding=1)
        self.turn = Turned()
        self.main = nn.Conv2d(3, 4, 3, padding=1)
        self.fc = nn.Linear(4, 5)

    def forward(self, x):
        side = self.turn(self.side(x)).transpose(0, 1)
        return self.fc((side * self.main(x)).mean(dim=(2, 3)))


class Turned(nn.Module):
    def forward(self, x):
        return x.transpose(0, 1)


@pytest.mark.parametrize(("build", "layer"), [(OneByOne, "main"), (BatchFirstLast, "main")])
def test_where_replay_is_not_exact_the_whole_network_runs_and_this_is_said(build, layer):
    model = model_of(build().double(), labels=None)
    inputs = noise(1, 32, torch.float64)
    error, moved, checks = substituted(model, inputs, layer)
    assert error <= 1e-12
    assert moved > 1e-3
    said = f"replay after {layer} was not exact here: the whole network runs each time"
    assert checks == (said,)
    assert said in ablationcam(model, inputs, layer=layer).checks


class AtRandom(Small):
    def forward(self, x):
        return super().forward(x) * torch.rand(())


@pytest.mark.parametrize(("build", "layer"), [(OneByOne, "side"), (AtRandom, "conv2")])
def test_where_nothing_can_be_put_in_this_is_said_too(build, layer):
    net = build().eval()
    said = pytest.raises(ExplanationError, match="answers otherwise when layer")
    with said, torch.no_grad(), replay(net, net, noise(1, 32), layer):
        pass
    assert not any(part._forward_hooks or "forward" in vars(part) for part in net.modules())


@pytest.mark.parametrize("breaks", [False, True])
def test_forward_attributes_and_hooks_are_put_back(breaks):
    net = Small().eval()
    net.conv1.forward = own = net.conv1.forward
    before = {name: dict(part.__dict__) for name, part in net.named_modules()}
    with (
        pytest.raises(KeyboardInterrupt) if breaks else nullcontext(),
        torch.no_grad(),
        replay(net, net, noise(1, 32), "conv2"),
    ):
        assert net.conv1.forward is not own
        if breaks:
            raise KeyboardInterrupt
    assert net.conv1.__dict__["forward"] is own
    for name, part in net.named_modules():
        assert sorted(part.__dict__) == sorted(before[name])
        assert not part._forward_hooks
        assert not part._forward_pre_hooks


def test_hooks_are_taken_off_when_the_forward_fails():
    net = Small().eval()
    with pytest.raises(RuntimeError), torch.no_grad(), replay(net, net, noise(1, 32)[:, :2], "conv2"):
        pass
    assert not any(part._forward_hooks or part._forward_pre_hooks or "forward" in vars(part) for part in net.modules())


def test_a_layer_that_does_not_run():
    net = Small().eval()
    net.idle = nn.Conv2d(3, 3, 1)
    said = pytest.raises(ExplanationError, match="'idle' gave no tensor")
    with said, torch.no_grad(), replay(net, net, noise(1, 32), "idle"):
        pass


class OnlyFour(Small):
    """Takes batches of four only, as networks exported so do."""

    def forward(self, x):
        assert len(x) == 4
        return super().forward(x)


def test_a_fixed_batch_repeats_its_inputs():
    net, plain = OnlyFour().double().eval(), Small().double().eval()
    plain.load_state_dict(net.state_dict())
    inputs = noise(1, 32, torch.float64)
    with torch.no_grad(), replay(net, net, inputs.expand(4, -1, -1, -1), "conv2") as found:
        assert found.fixed == 4
        assert found.checks == ()
        changed = found.activation * torch.rand(4, *found.activation.shape[1:]).double()
        answers = found(changed)
        with put_in(plain, "conv2", changed, inputs):
            assert torch.allclose(answers, plain(inputs.repeat(4, 1, 1, 1)), rtol=0, atol=1e-12)


@pytest.mark.parametrize("batch", [1, *(pytest.param(each, marks=pytest.mark.slow) for each in ("any", 2))])
def test_an_exported_network(tmp_path, batch):
    net = torchvision_net("squeezenet1_1", dtype=torch.float64)
    dynamic = ({0: torch.export.Dim("batch", min=1, max=64)},) if batch == "any" else None
    path, example = tmp_path / "net.pt2", noise(2 if batch == "any" else batch, 64, torch.float64)
    torch.export.save(torch.export.export(net, (example,), dynamic_shapes=dynamic), path)
    model = load_model(str(path), device="cpu")
    copies = model.fixed_batch or 1
    inputs = noise(1, 64, torch.float64)
    for layer in ("features.3", "features.9.expand3x3", "features", "classifier.2"):
        many = inputs.expand(copies, -1, -1, -1)
        with (
            undisturbed(model.module),
            torch.no_grad(),
            replay(model.module, model.forward, many, layer, fixed=bool(model.fixed_batch)) as found,
        ):
            changed = found.activation * torch.rand(copies, *found.activation.shape[1:]).double()
            answers = found(changed)
        with torch.no_grad(), put_in(net, layer, changed, inputs):
            expected = net(inputs.repeat(copies, 1, 1, 1))
        assert (answers - expected).abs().max() <= 1e-9 * expected.abs().max(), layer
        assert found.checks == ()
    maps, plain = (ablationcam(each, inputs, 3, layer="features.9") for each in (model, Model(net, input_size=64)))
    assert np.abs(maps.values - plain.values).max() <= 1e-6 * np.abs(plain.values).max()


def test_which_layers_a_substitution_decides():
    net = torchvision_net("resnet18")
    with torch.no_grad(), replay(net, net, noise(1, 64), "layer3") as found:
        names = ("conv1", "layer2", "layer3.1", "layer3", "layer4.0.conv1", "layer4", "fc")
        assert [name for name in names if found.decides(name)] == ["layer3", "layer4.0.conv1", "layer4", "fc"]
    twice = Twice().eval()
    with torch.no_grad(), replay(twice, twice, noise(1, 32), "shared#1") as found:
        names = ("stem", "shared#1", "relu#1", "shared#2", "relu", "relu#2")
        assert [name for name in names if found.decides(name)] == list(names[1:])
    with torch.no_grad(), replay(twice, twice, noise(1, 32), "shared#2") as found:
        assert [name for name in names if found.decides(name)] == ["shared#2", "relu", "relu#2"]


def test_tensors_of_a_replay_carry_no_graph():
    net = Small().eval()
    with torch.no_grad(), replay(net, net, noise(1, 32), "conv2") as found:
        tensor = found(found.activation)
    assert not tensor.requires_grad

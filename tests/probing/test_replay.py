"""replay: the rest of the network with another activation, equal to the whole network with it put in."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
import torch
from torch import nn
from torch.nn import functional

from cnnviz import Model, load_model
from cnnviz.errors import ExplanationError
from cnnviz.probing.arrangement import first_tensor, replaced_tensor
from cnnviz.probing.replay import replay
from cnnviz.probing.state import undisturbed
from tests.networks import Encoded, Small, Twice, model_of
from tests.torchvision_nets import noise, size_of, torchvision_net

FAMILIES = (
    "resnet18", "densenet121", "googlenet", "mobilenet_v2", "efficientnet_b0", "convnext_tiny", "shufflenet_v2_x0_5",
    "swin_t", "vit_b_32", "squeezenet1_1", "regnet_y_400mf", "mobilenet_v3_small", "mnasnet0_5",
)  # fmt: skip
SLOW = ("vgg11", "inception_v3", "swin_v2_t", "maxvit_t")
TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4}


@contextmanager
def put_in(net: nn.Module, layer: str, activation: torch.Tensor):
    """The plain way: a forward hook that returns the activation at the layer's last (or k-th) call."""
    name, _, wanted = layer.partition("#")
    part, seen = net.get_submodule(name), []
    with torch.no_grad():
        handle = part.register_forward_hook(lambda *_: seen.append(None))
        net(torch.zeros_like(put_in.example))
        handle.remove()
    last, seen = int(wanted or len(seen)), []

    def hook(_part, _inputs, output):
        seen.append(None)
        return replaced_tensor(output, activation.clone()) if len(seen) == last else None

    handle = part.register_forward_hook(hook)
    yield
    handle.remove()


def worst(model: Model, inputs: torch.Tensor, layer: str) -> tuple[float, float, tuple[str, ...]]:
    """Largest error of replayed logits and how far the substitution moved them, over the largest |logit|."""
    net, put_in.example = model.module, inputs
    with undisturbed(net), torch.no_grad():
        plain = model.forward(inputs)
        with replay(net, model.forward, inputs, layer) as found:
            recorded = found.activation
            factors = torch.rand(3, *recorded.shape[1:], generator=torch.Generator().manual_seed(3))
            changed = 1.5 * recorded * factors.to(recorded)
            answers = [found(changed), found(changed[:1]), found(changed)]
            assert torch.equal(found.logits, plain)
        with put_in(net, layer, changed):
            expected = model.forward(inputs.repeat(3, 1, 1, 1))
    size = float(expected.abs().max())
    assert torch.equal(answers[0], answers[2])
    errors = [(answers[0] - expected).abs().max(), (answers[1] - expected[:1]).abs().max()]
    return max(map(float, errors)) / size, float((expected - plain).abs().max()) / size, found.checks


@pytest.mark.parametrize("dtype", TOLERANCE, ids=["float64", "float32"])
@pytest.mark.parametrize("name", [*FAMILIES, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_every_family_at_an_early_a_middle_and_the_last_layer(name, dtype):
    net = torchvision_net(name, dtype=dtype)
    size = size_of(name)
    model = Model(net, mean=(0.0,) * 3, std=(1.0,) * 3, input_size=size)
    layers = sorted((layer for layer in model.layers.values() if layer.spatial), key=lambda layer: layer.order)
    for layer in (layers[len(layers) // 6], layers[len(layers) // 2], layers[-1]):
        error, moved, checks = worst(model, noise(1, size, dtype), layer.name)
        assert error <= TOLERANCE[dtype], layer.name
        assert moved > 0.05, f"{layer.name}: the substitution leaves the logits as they are"
        assert checks == (), layer.name


def test_what_came_before_does_not_run_again():
    net = torchvision_net("resnet18")
    ran = []
    inputs = noise(1, 64)
    with torch.no_grad(), replay(net, net, inputs, "layer3.1.conv1") as found:
        for name, part in net.named_modules():
            if isinstance(part, nn.Conv2d):
                forward = type(part).forward
                if "forward" not in part.__dict__:
                    part.forward = lambda x, part=part, name=name: (ran.append(name), forward(part, x))[1]
        found(found.activation.expand(5, -1, -1, -1))
        for part in net.modules():
            if isinstance(part, nn.Conv2d) and part.__dict__.get("forward", None) is not None:
                continue
    assert ran == ["layer3.1.conv2", *(f"layer4.{rest}" for rest in _convolutions(net.layer4))]


def _convolutions(part: nn.Module) -> list[str]:
    order = []
    hooks = [
        each.register_forward_hook(lambda *_, name=name: order.append(name))
        for name, each in part.named_modules()
        if isinstance(each, nn.Conv2d)
    ]
    with torch.no_grad():
        part(torch.zeros(1, 256, 4, 4))
    for hook in hooks:
        hook.remove()
    return order


class WritesOver(nn.Module):
    """Writes in place into a recorded side path, into the layer's own output, and into its input."""

    def __init__(self) -> None:
        super().__init__()
        self.side, self.main = (nn.Conv2d(3, 4, 3, padding=1) for _ in range(2))
        self.last = nn.Conv2d(4, 4, 3, padding=1)
        self.fc = nn.Linear(4, 5)

    def forward(self, x):
        x.sub_(0.5)
        side = self.side(x)
        main = self.main(x)
        side += main
        main.relu_()
        side.mul_(main)
        return self.fc(self.last(functional.relu_(side)).mean(dim=(2, 3)))


@pytest.mark.parametrize("layer", ["side", "main", "last"])
def test_operations_that_write_into_recorded_outputs(layer):
    model = model_of(WritesOver().double(), labels=None)
    inputs = noise(1, 32, torch.float64)
    kept = inputs.clone()
    error, moved, checks = worst(model, inputs, layer)
    assert error <= 1e-12
    assert moved > 1e-3
    assert checks == ()
    assert torch.equal(inputs, kept)


def test_a_bare_forward_that_writes_into_its_input():
    net = WritesOver().double()
    inputs = noise(1, 32, torch.float64)
    with torch.no_grad():
        plain = net(inputs.clone())
        with replay(net, net, inputs.clone(), "main") as found:
            assert torch.equal(found(found.activation), plain)


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("layer", ["relu", "relu#1", "relu#2", "shared", "shared#1", "shared#2"])
def test_modules_that_run_twice(layer, inplace):
    model = model_of(Twice(inplace=inplace).double())
    error, moved, checks = worst(model, noise(1, 32, torch.float64), layer)
    assert error <= 1e-12
    assert moved > 1e-3
    assert checks == ()


def test_a_transformer_encoder_and_attention_that_returns_tuples():
    model = model_of(Encoded().double())
    for layer in ("encoder.layers.0", "encoder.layers.0.self_attn", "encoder.layers.1.linear1", "patches"):
        error, moved, checks = worst(model, noise(1, 32, torch.float64), layer)
        assert (error <= 1e-12, moved > 1e-3, checks) == (True, True, ())


class Remembering(nn.Module):
    """Keeps what its first part gave in a closure, and alternates between two first parts: state that replay misses."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = (nn.Conv2d(3, 4, 3, padding=1) for _ in range(2))
        self.last = nn.Conv2d(4, 4, 3, padding=1)
        self.fc = nn.Linear(4, 5)
        self.table: dict[int, torch.Tensor] = {}

    def forward(self, x):
        if len(x) not in self.table:
            self.table[len(x)] = self.one(x[:1] * 0 + 1)
        return self.fc(self.last(functional.relu(self.two(x) + self.one(x)) * self.table[len(x)]).mean(dim=(2, 3)))


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


@pytest.mark.parametrize(("build", "layer"), [(Remembering, "two"), (BatchFirstLast, "main")])
def test_where_replay_is_not_exact_the_whole_network_runs_and_this_is_said(build, layer):
    net = build().double()
    with torch.no_grad():
        for count in (1, 3):
            net(noise(count, 32, torch.float64))
    error, moved, checks = worst(model_of(net, labels=None), noise(1, 32, torch.float64), layer)
    assert error <= 1e-9
    assert moved > 1e-3
    assert len(checks) == 1
    assert f"replay after {layer} was not exact here: the whole network runs each time" in checks[0]


@pytest.mark.parametrize("breaks", [False, True])
def test_forward_attributes_and_hooks_are_put_back(breaks):
    net = Small().eval()
    net.conv1.forward = own = net.conv1.forward
    before = {name: dict(part.__dict__) for name, part in net.named_modules()}
    try:
        with torch.no_grad(), replay(net, net, noise(1, 32), "conv2"):
            assert net.conv1.forward is not own
            if breaks:
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        assert breaks
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
    with pytest.raises(ExplanationError, match="'idle' gave no tensor"), torch.no_grad():
        with replay(net, net, noise(1, 32), "idle"):
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
    put_in.example = inputs
    with torch.no_grad(), replay(net, net, inputs.expand(4, -1, -1, -1), "conv2") as found:
        assert found.fixed == 4
        assert found.checks == ()
        changed = found.activation * torch.rand(4, *found.activation.shape[1:]).double()
        answers = found(changed)
        with put_in(plain, "conv2", changed):
            assert torch.allclose(answers, plain(inputs.repeat(4, 1, 1, 1)), rtol=0, atol=1e-12)


@pytest.mark.parametrize("free", [True, False])
def test_an_exported_network(tmp_path, free):
    net = torchvision_net("resnet18", dtype=torch.float64)
    dynamic = ({0: torch.export.Dim("batch", min=1, max=64)},) if free else None
    path = tmp_path / "net.pt2"
    torch.export.save(torch.export.export(net, (noise(2, 64, torch.float64),), dynamic_shapes=dynamic), path)
    model = load_model(str(path), device="cpu")
    copies = model.fixed_batch or 1
    inputs = noise(1, 64, torch.float64)
    put_in.example = inputs
    for layer in ("layer1", "layer3.0.conv2", "layer4"):
        with undisturbed(model.module), torch.no_grad():
            with replay(model.module, model.forward, inputs.expand(copies, -1, -1, -1), layer) as found:
                changed = found.activation * torch.rand(copies, *found.activation.shape[1:]).double()
                answers = found(changed)
        with torch.no_grad(), put_in(net, layer, changed):
            expected = net(inputs.repeat(copies, 1, 1, 1))
        assert (answers - expected).abs().max() <= 1e-9 * expected.abs().max(), (layer, found.checks)


def test_which_layers_a_substitution_decides():
    net = torchvision_net("resnet18")
    with torch.no_grad(), replay(net, net, noise(1, 64), "layer3") as found:
        decided = [name for name in ("conv1", "layer2", "layer3.1", "layer3", "layer4.0.conv1", "layer4", "fc")]
        assert [name for name in decided if found.decides(name)] == ["layer3", "layer4.0.conv1", "layer4", "fc"]
    twice = Twice().eval()
    with torch.no_grad(), replay(twice, twice, noise(1, 32), "shared#1") as found:
        names = ("stem", "shared#1", "relu#1", "shared#2", "relu", "relu#2")
        assert [name for name in names if found.decides(name)] == list(names[1:])
    with torch.no_grad(), replay(twice, twice, noise(1, 32), "shared#2") as found:
        assert [name for name in names if found.decides(name)] == ["shared#2", "relu", "relu#2"]


def test_tensors_of_a_replay_carry_no_graph():
    net = Small().eval()
    with torch.no_grad(), replay(net, net, noise(1, 32), "conv2") as found:
        tensor = first_tensor(found(found.activation))
    assert not tensor.requires_grad

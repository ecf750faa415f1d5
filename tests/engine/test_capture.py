"""Capture: activations and gradients of layers, against the same by hand."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional
from torchvision.models import resnet18

from cnnviz.engine.capture import capture
from cnnviz.engine.undisturbed import undisturbed
from cnnviz.errors import ExplanationError, UsageError
from tests.support.networks import ByHooks, Small, Twice


def captured(net, inputs, layers, index=1, **how):
    with undisturbed(net), capture(net, layers) as caught:
        gradients = caught.gradients(net(inputs)[:, index], **how)
    return caught, gradients


def by_hand(net, inputs, layer, index=1):
    """The same by plain autograd on a copy without any in-place operation."""
    net = copy.deepcopy(net).eval().requires_grad_()
    held = []
    for part in net.modules():
        if hasattr(part, "inplace"):
            part.inplace = False

    def hold(part, given, output):
        held.append(output)
        return output.clone()

    net.get_submodule(layer).register_forward_hook(hold)
    logits = net(inputs)
    (gradient,) = torch.autograd.grad(logits[:, index].sum(), held[-1])
    return held[-1].detach(), gradient


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("layer", ["conv1", "norm1", "relu1", "down", "middle", "conv2", "relu2", "pool"])
def test_one_layer(layer, frozen, inputs):
    net = Small().requires_grad_(not frozen)
    caught, gradients = captured(net, inputs, [layer])
    activation, gradient = by_hand(net, inputs, layer)
    torch.testing.assert_close(caught.activations[layer], activation)
    torch.testing.assert_close(gradients[layer], gradient)
    assert (activation.min() < 0) == (layer not in ("relu1", "down", "middle", "relu2", "pool"))


@pytest.mark.parametrize("asked", [["body.1"], ["body.3"], ["body.1", "body.3"]])
def test_what_a_networks_own_hooks_keep_takes_part(asked, inputs):
    net, inputs = ByHooks().double().eval(), inputs.double()
    _, gradients = captured(net, inputs, asked)
    first = net.body[:2](inputs).detach().requires_grad_()
    last = net.body[2:](first)
    logits = net.fc(torch.cat([first.mean(dim=(2, 3)), last.mean(dim=(2, 3))], dim=1))
    expected = dict(zip(("body.1", "body.3"), torch.autograd.grad(logits[:, 1].sum(), [first, last]), strict=True))
    assert gradients
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, expected[name])


class KeptAside(Small):
    """What a hook of its own keeps of the last layer with places is used beside that layer's output."""

    def __init__(self) -> None:
        super().__init__()
        self.relu2.register_forward_hook(lambda _part, _inputs, output: setattr(self, "kept", output))

    def forward(self, x):
        return super().forward(x) + self.kept.mean(dim=(1, 2, 3))[:, None]


def test_the_automatic_layer_counts_what_a_hook_kept(inputs):
    net = KeptAside()
    caught, gradients = captured(net, inputs, ["last-spatial"])
    assert caught.automatic == "relu2"
    places = caught.activations["relu2"][0, 0].numel()
    expected = (net.fc.weight[1] + 1 / 6) / places
    torch.testing.assert_close(gradients["relu2"][:, :, 0, 0], expected.expand(len(inputs), -1))


@pytest.mark.parametrize("layer", ["relu1", "conv2"])
def test_a_hook_that_changes_an_output_is_part_of_the_layer(layer, inputs):
    net, plain = Small(), Small()
    plain.load_state_dict(net.state_dict())
    for one in (net, plain):
        one.get_submodule(layer).register_forward_hook(lambda _part, _inputs, output: output * 2)
    caught, gradients = captured(net, inputs, [layer])
    activation, gradient = by_hand(plain, inputs, layer)
    torch.testing.assert_close(caught.activations[layer], activation)
    torch.testing.assert_close(gradients[layer], gradient)


def test_several_layers_at_once(inputs):
    net = Small()
    layers = ["relu2", "conv1", "middle", "fc"]
    caught, gradients = captured(net, inputs, layers)
    for layer in layers:
        activation, gradient = by_hand(net, inputs, layer)
        torch.testing.assert_close(caught.activations[layer], activation)
        torch.testing.assert_close(gradients[layer], gradient)


@pytest.mark.parametrize(
    "layer", ["layer3.1.bn1", "layer4.0.downsample", "layer4.0.downsample.1", "layer4.1.bn2", "layer2"]
)
def test_residual_networks(layer):
    net, inputs = resnet18(), torch.randn(2, 3, 64, 64)
    caught, gradients = captured(net, inputs, [layer])
    activation, gradient = by_hand(net, inputs, layer)
    torch.testing.assert_close(caught.activations[layer], activation)
    torch.testing.assert_close(gradients[layer], gradient)


@pytest.mark.parametrize("inplace", [False, True])
def test_calls_of_a_shared_layer(inplace, inputs):
    net = Twice(inplace=inplace)
    caught, gradients = captured(net, inputs, ["shared", "shared#1", "shared#2"])
    assert caught.calls["shared"] == 2
    below = functional.max_pool2d(net.stem(inputs), 4).detach()
    first = net.shared(below).detach().requires_grad_()
    second = net.shared(functional.relu(first))
    logits = net.fc(functional.relu(second).mean(dim=(2, 3)))
    expected = torch.autograd.grad(logits[:, 1].sum(), [first, second])
    for name, value, gradient in zip(("shared#1", "shared#2"), (first, second), expected, strict=True):
        torch.testing.assert_close(caught.activations[name], value)
        torch.testing.assert_close(gradients[name], gradient)
    assert torch.equal(caught.activations["shared"], caught.activations["shared#2"])
    assert torch.equal(gradients["shared"], gradients["shared#2"])


@pytest.mark.parametrize("net", [Small(), Twice(), resnet18(num_classes=5)], ids=lambda net: type(net).__name__)
def test_the_automatic_layer_is_the_last_with_places(net):
    inputs = torch.randn(2, 3, 64, 64)
    caught, gradients = captured(net, inputs, ["last-spatial"])
    (name,) = gradients
    assert name == caught.automatic == {"Small": "relu2", "Twice": "relu", "ResNet": "layer4"}[type(net).__name__]
    plain, expected = captured(net, inputs, [name])
    assert torch.equal(caught.activations[name], plain.activations[name])
    assert torch.equal(gradients[name], expected[name])


def test_the_automatic_layer_skips_outputs_without_a_gradient(inputs):
    class Coded(nn.Module):
        def forward(self, x):
            return x.argmax(dim=1, keepdim=True)

    class Net(Small):
        def __init__(self):
            super().__init__()
            self.code = Coded()

        def forward(self, x):
            self.code(x)
            return super().forward(x)

    assert captured(Net(), inputs, ["last-spatial"])[0].automatic == "relu2"


@pytest.mark.parametrize("layer", ["conv2", "last-spatial"])
def test_what_lies_below_takes_no_part(layer, inputs):
    inputs.requires_grad_()
    caught, _ = captured(Small(), inputs, [layer])
    (activation,) = caught.activations.values()
    assert activation.is_leaf
    assert activation.grad_fn is None


def test_the_forwards_graph_can_be_asked_twice(inputs):
    net = Small()
    with undisturbed(net), capture(net, ["relu2"]) as caught:
        logits = net(inputs)
        first = caught.gradients(logits[:, 0], again=True)["relu2"]
        second = caught.gradients(logits[:, 1])["relu2"]
    torch.testing.assert_close(first, by_hand(net, inputs, "relu2", 0)[1])
    torch.testing.assert_close(second, by_hand(net, inputs, "relu2", 1)[1])


def test_a_layer_that_does_not_matter(inputs):
    class Aside(Small):
        def __init__(self):
            super().__init__()
            self.aside = nn.Conv2d(3, 2, 1)

        def forward(self, x):
            self.aside(x)
            return super().forward(x)

    with pytest.raises(ExplanationError, match="does not depend on layer 'aside'"):
        captured(Aside(), inputs, ["aside"])
    assert set(captured(Aside(), inputs, ["aside", "conv2"], unused=True)[1]) == {"conv2"}


def test_a_layer_that_is_not_run(inputs):
    net = Small()
    net.unused = nn.Conv2d(3, 3, 1)
    for name in ("unused", "conv1#2"):
        with pytest.raises(ExplanationError, match=f"'{name}' gave no tensor in this forward"):
            captured(net, inputs, [name])


def test_a_forward_that_turns_gradients_off_as_a_whole(inputs):
    class Guarded(Small):
        @torch.no_grad()
        def forward(self, x):
            return super().forward(x)

    net, plain = Guarded(), Small()
    plain.load_state_dict(net.state_dict())
    for layers in (["conv2"], ["last-spatial"]):
        (found,), (expected,) = (captured(each, inputs, layers)[1].values() for each in (net, plain))
        assert torch.equal(found, expected)


def test_gradients_turned_off_after_the_layer_are_explained(inputs):
    class Blocked(Small):
        def forward(self, x):
            x = self.conv2(self.down(self.conv1(x)))
            with torch.no_grad():
                return self.fc(x.mean(dim=(2, 3)))

    with pytest.raises(ExplanationError, match="without gradients"):
        captured(Blocked(), inputs, ["conv2"])


def test_a_layer_without_places_has_no_maps(inputs):
    caught, gradients = captured(Small(), inputs, ["fc"])
    with pytest.raises(UsageError, match=r"'fc' has no spatial extent: its output is \(5,\)"):
        caught.maps("fc", gradients["fc"])


def test_a_network_without_places(inputs):
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 5))
    with pytest.raises(ExplanationError, match="No layer of this network has a spatial output"):
        captured(net, inputs, ["last-spatial"])


def test_maps_are_at_least_float32(inputs):
    net = Small().bfloat16()
    caught, gradients = captured(net, inputs.bfloat16(), ["conv2"])
    assert gradients["conv2"].dtype == torch.bfloat16
    assert caught.maps("conv2", gradients["conv2"]).dtype == torch.float32


def test_curvatures_are_the_hessian_times_the_activation(inputs):
    class Squared(Small):
        def forward(self, x):
            return super().forward(x) ** 2

    net = Squared().eval()
    with undisturbed(net), capture(net, ["relu2"]) as caught:
        gradients = caught.gradients(net(inputs)[:, 1], connected=True)
        found = caught.curvatures(gradients)["relu2"]
    value = caught.activations["relu2"][:1].detach()

    def tail(maps):
        return (net.fc(maps.mean(dim=(2, 3))) ** 2)[0, 1]

    expected = torch.autograd.functional.hvp(tail, value, value)[1]
    torch.testing.assert_close(found[:1], expected)

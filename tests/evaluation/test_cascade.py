"""Networks whose layers draw new weights, from the last called to the first."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, weight_norm

from cnnviz import Model
from cnnviz.errors import ExplanationError, ModelError, ParameterError
from cnnviz.evaluation.randomisation.cascade import Cascade
from tests.support.networks import Small, model_of

PICTURES = torch.randn(6, 3, 32, 32, generator=torch.Generator().manual_seed(3))


class Backwards(nn.Module):
    """Registers its layers in the opposite order of their calls; one is called twice, one never."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 5)
        self.unused = nn.Linear(2, 2)
        self.last = nn.Conv2d(4, 4, 3, padding=1)
        self.middle = nn.Conv2d(4, 4, 3, padding=1)
        self.first = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x):
        x = self.middle(self.first(x))
        return self.fc(self.middle(self.last(x)).mean(dim=(2, 3)))


def state(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def same(one, other, prefix=""):
    return all(torch.equal(one[name], other[name]) for name in one if name.startswith(prefix))


def plain_reset(layer, seed, place):
    """What a layer's own reset draws from the random numbers that belong to its place."""
    own = np.random.SeedSequence([seed, place]).generate_state(1, np.uint64)[0] >> np.uint64(1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(own))
        layer.reset_parameters()
    return layer


def test_layers_are_in_the_order_of_their_first_call():
    cascade = Cascade(model_of(Backwards()), PICTURES, seed=0)
    assert cascade.layers == ("first", "middle", "last", "fc")
    assert cascade.kept == ()


def test_layers_are_drawn_from_the_last_called_by_their_own_reset():
    net = Backwards()
    before, cascade = state(net), Cascade(model_of(net), PICTURES, seed=7)
    after = state(cascade.draw(0).module)
    assert same(before, after)
    for depth, drawn in [(0.25, ["fc"]), (0.5, ["fc", "last"]), (0.75, ["fc", "last", "middle"])]:
        after = state(cascade.draw(depth).module)
        for place, name in enumerate(cascade.layers):
            if name in drawn:
                expected = plain_reset(copy.deepcopy(net.get_submodule(name)), 7, place)
                assert torch.equal(after[f"{name}.weight"], expected.weight)
                assert torch.equal(after[f"{name}.bias"], expected.bias)
            else:
                assert same(before, after, name)
    assert same(before, after, "unused")


def test_a_share_of_layers_is_rounded_up_and_only_grows():
    cascade = Cascade(model_of(Backwards()), PICTURES, seed=0)
    before = state(cascade.draw(0).module)
    cascade.draw(0.01)
    after = state(cascade.draw(0.01).module)
    assert [name for name in cascade.layers if not same(before, after, name)] == ["fc"]
    for depth in (0, -0.5, 1.1, float("nan")):
        with pytest.raises(ParameterError, match="expected a share from 0 to 1"):
            cascade.draw(depth)


def test_the_seed_decides_alone():
    net = Backwards()
    torch.manual_seed(1)
    first = state(Cascade(model_of(net), PICTURES, seed=0).draw(1).module)
    torch.manual_seed(2)
    straight, steps = Cascade(model_of(net), PICTURES, seed=0), Cascade(model_of(net), PICTURES, seed=1)
    assert same(first, state(straight.draw(1).module))
    for depth in (0.25, 0.5, 1):
        other = state(steps.draw(depth).module)
    assert not torch.equal(other["first.weight"], first["first.weight"])
    assert not torch.equal(first["middle.weight"], first["last.weight"])
    assert not torch.equal(first["middle.weight"], other["last.weight"])
    assert not torch.equal(first["last.weight"], other["middle.weight"])


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_types_hold_the_same_numbers(dtype):
    net = Backwards()
    single = state(Cascade(model_of(net), PICTURES, seed=0).draw(1).module)
    other = state(Cascade(model_of(copy.deepcopy(net).to(dtype)), PICTURES, seed=0).draw(1).module)
    assert all(torch.equal(value.to(dtype), other[name]) for name, value in single.items() if "unused" not in name)


def test_batch_norms_drawn_anew_have_the_statistics_of_what_comes_to_them():
    net = Small().eval()
    network = Cascade(model_of(net), PICTURES, seed=0).draw(1).module
    with torch.no_grad():
        activations = network.conv1(PICTURES)
    mean, variance = activations.mean(dim=(0, 2, 3)), activations.var(dim=(0, 2, 3))
    torch.testing.assert_close(network.norm1.running_mean, mean)
    torch.testing.assert_close(network.norm1.running_var, variance)
    assert torch.equal(network.norm1.weight, torch.ones(8))
    with torch.no_grad():
        normed = network.norm1(activations)
    torch.testing.assert_close(normed.mean(dim=(0, 2, 3)), torch.zeros(8), atol=1e-5, rtol=0)


def test_batch_norms_below_the_cut_stay_as_they_were_trained():
    net = Small()
    network = Cascade(model_of(net), PICTURES, seed=0).draw(0.5).module
    assert same(state(net), state(network), "norm1")
    assert same(state(net), state(network), "conv1")
    assert not same(state(net), state(network), "conv2")


def test_statistics_of_one_value_a_channel_are_finite():
    class Vector(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm, self.fc = nn.Conv2d(3, 4, 3), nn.BatchNorm1d(4), nn.Linear(4, 5)

        def forward(self, x):
            return self.fc(self.norm(self.conv(x).mean(dim=(2, 3))))

    model = Cascade(model_of(Vector()), PICTURES[:1], seed=0).draw(1)
    assert model.forward(PICTURES).isfinite().all()
    assert torch.equal(model.module.norm.running_var, torch.ones(4))


def test_what_a_shared_layer_is_given_first_sets_its_statistics():
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm, self.fc = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), nn.Linear(3, 5)

        def forward(self, x):
            x = self.norm(self.conv(x))
            return self.fc(self.norm(5 * x + 1).mean(dim=(2, 3)))

    network = Cascade(model_of(Shared()), PICTURES, seed=0).draw(1).module
    with torch.no_grad():
        torch.testing.assert_close(network.norm.running_mean, network.conv(PICTURES).mean(dim=(0, 2, 3)))


class WithTable(nn.Module):
    """Weights of its own that nothing draws, beside a layer."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.randn(3, 1, 1))
        self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4, 5)

    def forward(self, x):
        return self.fc(self.conv(x * self.scale).mean(dim=(2, 3)))


def test_layers_that_draw_no_weights_keep_them_and_are_named():
    class Inside(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = WithTable()

        def forward(self, x):
            return self.table(x)

    net = Inside()
    cascade = Cascade(model_of(net), PICTURES, seed=0)
    network = cascade.draw(1).module
    assert cascade.kept == ("table",)
    assert cascade.layers == ("table.conv", "table.fc")
    assert torch.equal(network.table.scale, net.table.scale)
    assert cascade.describe() == ("trained weights that no 'reset_parameters' draws were kept in table",)


def test_parametrised_weights_are_drawn_too():
    class Normed(Backwards):
        def __init__(self):
            super().__init__()
            self.middle = parametrizations.weight_norm(self.middle)

    net = Normed()
    cascade = Cascade(model_of(net), PICTURES, seed=0)
    found = cascade.draw(1).module.middle.weight
    expected = plain_reset(nn.Conv2d(4, 4, 3, padding=1), 0, 1).weight
    torch.testing.assert_close(found, expected)
    assert cascade.kept == ()
    assert cascade.layers == ("first", "middle", "last", "fc")
    before = net.middle.weight
    assert torch.equal(before, net.eval().middle.weight)
    assert net(PICTURES).isfinite().all()
    assert not torch.equal(found, before)


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
def test_a_layer_that_only_seems_to_draw_its_weights_is_named():
    class Hooked(Backwards):
        def __init__(self):
            super().__init__()
            self.middle = weight_norm(self.middle)

    cascade = Cascade(model_of(Hooked()), PICTURES, seed=0)
    cascade.draw(1)
    assert cascade.kept == ("middle",)


def test_a_reset_that_fails_is_named():
    class Failing(nn.Conv2d):
        def reset_parameters(self, gain=None):
            if gain is None and hasattr(self, "done"):
                raise TypeError("gain is missing")
            super().reset_parameters()

    class Net(Backwards):
        def __init__(self):
            super().__init__()
            self.middle = Failing(4, 4, 3, padding=1)
            self.middle.done = True

    net = Net()
    cascade = Cascade(model_of(net), PICTURES, seed=0)
    network = cascade.draw(1).module
    assert cascade.kept == ("middle",)
    assert torch.equal(network.middle.weight, net.middle.weight)


def test_a_layer_whose_weights_another_computes_with_is_drawn():
    class Attending(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 8, stride=8)
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
            self.fc = nn.Linear(8, 5)

        def forward(self, x):
            tokens = self.conv(x).flatten(2).transpose(1, 2)
            return self.fc(self.attention(tokens, tokens, tokens, need_weights=False)[0].mean(dim=1))

    net = Attending()
    cascade = Cascade(model_of(net), PICTURES, seed=0)
    network = cascade.draw(1).module
    assert cascade.layers == ("conv", "attention", "attention.out_proj", "fc")
    for name in ("in_proj_weight", "out_proj.weight"):
        assert not torch.equal(network.attention.get_parameter(name), net.attention.get_parameter(name))


def test_the_network_is_left_alone():
    net = Small().train()
    net.conv1.weight.requires_grad_(requires_grad=False)
    net.fc.weight.grad = torch.ones_like(net.fc.weight)
    before, random, numbers = state(net), torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    Cascade(model_of(net), PICTURES, seed=0).draw(1)
    assert same(before, state(net))
    assert all(part.training for part in net.modules())
    assert not net.conv1.weight.requires_grad
    assert torch.equal(net.fc.weight.grad, torch.ones_like(net.fc.weight))
    assert not any(part._forward_pre_hooks or part._forward_hooks for part in net.modules())
    assert torch.equal(random, torch.get_rng_state())
    assert np.array_equal(numbers, np.random.get_state()[1])  # noqa: NPY002


def test_inside_inference_mode_the_copy_takes_gradients():
    with torch.inference_mode():
        model = Cascade(model_of(Small()), PICTURES, seed=0).draw(1)
    assert not any(weight.is_inference() for weight in model.module.parameters())
    assert not any(buffer.is_inference() for buffer in model.module.buffers())


def test_the_copy_remembers_for_itself():
    model = model_of(Small())
    layers, print_ = model.layers, model.fingerprint()
    drawn = Cascade(model, PICTURES, seed=0).draw(1)
    assert drawn.fingerprint() != print_ == model.fingerprint()
    assert drawn.layers is layers
    assert drawn.automatic_layers is not model.automatic_layers


def test_a_network_without_layers_that_draw_weights():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(5, 3))

        def forward(self, x):
            return x.mean(dim=(2, 3)) @ self.weight.T

    with pytest.raises(ExplanationError, match="No layer of 'small' can draw new weights"):
        Cascade(model_of(Own()), PICTURES, seed=0)


def test_a_network_that_cannot_be_copied():
    class Holding(Small):
        def __deepcopy__(self, memo):
            raise RuntimeError("one of a kind")

    with pytest.raises(ModelError, match="'Holding' cannot be copied, which drawing new weights needs: one of a kind"):
        Cascade(Model(Holding(), input_size=32), PICTURES, seed=0)


def test_tensors_that_a_network_computed_and_holds_are_copied():
    class Holding(Small):
        def __init__(self):
            super().__init__()
            self.held = self.fc.weight * 2

    net = Holding()
    network = Cascade(model_of(net), PICTURES, seed=0).draw(1).module
    assert torch.equal(network.held, net.held)
    assert network.held is not net.held

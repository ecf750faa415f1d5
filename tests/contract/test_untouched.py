"""Whatever a method is asked, and whatever goes wrong, the network comes back bit for bit as it was."""

from __future__ import annotations

import functools
from contextlib import nullcontext, suppress

import pytest
import torch

from cnnviz.errors import CnnvizError, ModelError
from tests.support.asking import EVERYTHING, METHODS, ask, method_of, needing, state_of
from tests.support.networks import TRANSFORMERS, Small, Twice, Writing, failing, model_of

ON_IMAGES = [name for name in EVERYTHING if name == "predict" or name in needing("images")]


def in_use(net):
    """The network as a training script may hold it: modes mixed, weights partly frozen, gradients, hooks."""
    net.train()
    parts = list(net.children())
    for part in parts[: len(parts) // 2]:
        part.eval()
    weights = list(net.parameters())
    weights[0].requires_grad_(requires_grad=False)
    for weight in weights[1:3]:
        weight.grad = torch.full_like(weight, 7.0)
    parts[0].register_forward_hook(lambda part, given, output: None)
    parts[-1].register_forward_pre_hook(lambda part, given: None)
    parts[-1].register_full_backward_hook(lambda part, before, after: None)
    parts[1].forward = functools.partial(type(parts[1]).forward, parts[1])
    return net


@pytest.mark.parametrize("build", [Small, Twice, Writing, *TRANSFORMERS.values()])
@pytest.mark.parametrize("name", EVERYTHING)
def test_after_an_answer(name, build, inputs):
    net = in_use(build())
    before = state_of(net)
    with suppress(CnnvizError) if build in TRANSFORMERS.values() else nullcontext():
        ask(name, model_of(net), inputs, "dog")
    assert state_of(net) == before


class Normalising(Small):
    """Normalises its input in place."""

    def forward(self, x):
        return super().forward(x.sub_(0.1).mul_(2))


@pytest.mark.parametrize("name", ON_IMAGES)
def test_the_inputs_are_left_as_they_were_given(name, inputs):
    before, version = inputs.clone(), inputs._version
    ask(name, model_of(Normalising()), inputs, 1)
    assert torch.equal(inputs, before)
    assert inputs._version == version
    assert inputs.grad is None
    assert not inputs.requires_grad


@pytest.mark.parametrize("around", [torch.no_grad, torch.enable_grad, torch.inference_mode])
@pytest.mark.parametrize("name", EVERYTHING)
def test_what_the_caller_switched_on_stays_on(name, around, small, inputs):
    with around():
        before = state_of(small.module)
        ask(name, small, inputs, 1)
        assert state_of(small.module) == before


@pytest.mark.parametrize("name", ON_IMAGES)
def test_after_a_failure_in_the_middle_of_the_forward(name, inputs):
    net = in_use(failing("forward"))
    before = state_of(net)
    with pytest.raises(ModelError, match="broke on the way"):
        ask(name, model_of(net), inputs, 1)
    assert state_of(net) == before


@pytest.mark.parametrize("layer", [None, "relu1"])
@pytest.mark.parametrize("name", METHODS)
def test_after_a_failure_in_the_backward(name, layer, inputs):
    net = in_use(failing("backward"))
    before = state_of(net)
    settings = {"layer": layer} if layer and "layer" in method_of(name).parameters else {}
    with suppress(CnnvizError):
        ask(name, model_of(net), inputs, 1, **settings)
    assert state_of(net) == before


@pytest.mark.parametrize("name", ON_IMAGES)
def test_after_an_interrupt(name, inputs):
    net = in_use(failing("interrupt"))
    before = state_of(net)
    with pytest.raises(KeyboardInterrupt):
        ask(name, model_of(net), inputs, 1)
    assert state_of(net) == before


@pytest.mark.parametrize("name", needing("images", "target"))
def test_after_a_target_that_fails(name, small, inputs):
    before = state_of(in_use(small.module))

    def broken(logits):
        raise ZeroDivisionError

    with pytest.raises((ZeroDivisionError, CnnvizError)):
        ask(name, small, inputs, broken)
    assert state_of(small.module) == before


@pytest.mark.parametrize("name", EVERYTHING)
def test_describing_the_layers_leaves_no_trace_either(name, inputs):
    net = in_use(Writing())
    before = state_of(net)
    model = model_of(net)
    assert "conv2" in model.layers
    assert model.fingerprint() == model.fingerprint()
    assert state_of(net) == before

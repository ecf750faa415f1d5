"""Putting an activation in a layer's place: by replay, and the plain way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from cnnviz import Model
from cnnviz.engine.arrangement import replaced_tensor
from cnnviz.engine.replay import replay
from cnnviz.engine.undisturbed import undisturbed


@contextmanager
def put_in(net: nn.Module, layer: str, activation: torch.Tensor, example: torch.Tensor) -> Iterator[None]:
    """The plain way: a forward hook that returns the activation at the layer's last (or k-th) call."""
    name, _, wanted = layer.partition("#")
    part, seen = net.get_submodule(name), []
    with torch.no_grad():
        counting = part.register_forward_hook(lambda *_: seen.append(None))
        net(torch.zeros_like(example))
        counting.remove()
    last, seen = int(wanted or len(seen)), []

    def hook(_part, _inputs, output):
        seen.append(None)
        return replaced_tensor(output, activation.clone()) if len(seen) == last else None

    handle = part.register_forward_hook(hook)
    yield
    handle.remove()


def substituted(model: Model, inputs: torch.Tensor, layer: str) -> tuple[float, float, tuple[str, ...]]:
    """Largest error of replayed logits and how far the substitution moved them, over the largest |logit|."""
    net = model.module
    with undisturbed(net), torch.no_grad():
        plain = model.forward(inputs)
        with replay(net, model.forward, inputs, layer) as found:
            recorded = found.activation
            factors = torch.rand(3, *recorded.shape[1:], generator=torch.Generator().manual_seed(3))
            changed = 1.5 * recorded * factors.to(recorded)
            answers = [found(changed), found(changed[:1]), found(changed)]
            assert torch.equal(found.logits, plain)
        with put_in(net, layer, changed, inputs):
            expected = model.forward(inputs.repeat(3, 1, 1, 1))
    size = float(expected.abs().max())
    assert torch.equal(answers[0], answers[2])
    errors = [(answers[0] - expected).abs().max(), (answers[1] - expected[:1]).abs().max()]
    return max(map(float, errors)) / size, float((expected - plain).abs().max()) / size, found.checks

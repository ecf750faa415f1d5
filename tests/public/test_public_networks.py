"""Networks of public packages: the layer and the map are right, or one sentence; and the network is left as it was.

Random weights, small configurations; a package that is missing skips its networks. With ``CNNVIZ_SWEEP_PIECES=FOLDER``
the slow test leaves a piece for each network there, and ``python -m benchmarks.public_networks FOLDER`` joins them.
"""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from cnnviz import gradcam, guided_backprop, occlusion, reciprocam, saliency
from cnnviz.errors import CnnvizError
from tests.support.public_networks import (
    NETWORKS, built, gradcam_by_autograd, memory, model_of, pictures, trained_a_step,
)  # fmt: skip

REFUSED = [name for name, public in NETWORKS.items() if public.refused]
TARGET = 1


@pytest.mark.parametrize("name", NETWORKS)
def test_the_map_is_that_of_autograd_at_the_right_layer(name):
    public = NETWORKS[name]
    net, inputs = built(public), pictures(public)
    found = gradcam(model_of(net, public), inputs, TARGET, layer=public.layers[0] if public.named else None)
    assert found.layer in public.layers
    assert found.values.shape[1:] == public.grid
    right = gradcam_by_autograd(net, public, found.layer, inputs, TARGET).numpy()
    assert np.abs(right).max() > 0
    assert np.abs(found.values - right).max() <= 1e-6 * np.abs(right).max()


@pytest.mark.parametrize("name", REFUSED)
def test_without_class_scores_one_sentence_says_what_was_returned(name):
    public = NETWORKS[name]
    with pytest.raises(CnnvizError) as refused:
        gradcam(model_of(built(public), public, output=None), pictures(public), TARGET)
    said = str(refused.value)
    assert public.refused in said
    assert "output=" in said
    assert "\n" not in said


@pytest.mark.parametrize("name", REFUSED)
def test_a_unit_needs_no_class_scores(name):
    public = NETWORKS[name]
    net, inputs = built(public), pictures(public, 1)
    layer = public.layers[0]
    found = saliency(model_of(net, public, output=None), inputs, f"{layer}:1")
    assert np.isfinite(found.values).all()
    assert found.values.any()


@pytest.mark.parametrize("name", NETWORKS)
def test_the_network_is_as_it_was_and_learns_as_it_would_have(name):
    public = NETWORKS[name]
    net, inputs = built(public), pictures(public)
    twin = copy.deepcopy(net)
    for mode in (True, False):
        net.train(mode)
        twin.train(mode)
        before, state = memory(net), {key: value.clone() for key, value in net.state_dict().items()}
        model = model_of(net, public)
        for method, settings in _questions(public):
            try:
                method(model, inputs[:1], TARGET, **settings)
            except CnnvizError:
                assert public.refused or method is not gradcam
            assert memory(net) == before
        assert all(torch.equal(value, state[key]) for key, value in net.state_dict().items())
        copy.deepcopy(net)
    for one, other in zip(trained_a_step(net, inputs), trained_a_step(twin, inputs), strict=True):
        assert torch.equal(one, other)


def _questions(public):
    layer, third = {"layer": public.layers[0]}, public.side // 2
    return [
        (gradcam, layer), (reciprocam, layer), (guided_backprop, {}), (occlusion, {"window": third, "stride": third}),
    ]  # fmt: skip

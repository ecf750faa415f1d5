"""Networks of public packages: the layer and the map are right, or one sentence; and the network is left as it was.

Random weights, small configurations; a package that is missing skips its networks. With ``CNNVIZ_SWEEP_PIECES=FOLDER``
the slow test leaves a piece for each network there, and ``python -m benchmarks.public_networks FOLDER`` joins them.
"""

from __future__ import annotations

import copy
import json
import os
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch

from cnnviz import gradcam, guided_backprop, occlusion, reciprocam, saliency
from cnnviz.errors import CnnvizError
from tests.support.every_network import Case, judged, questions
from tests.support.public_networks import (
    NETWORKS,
    built,
    gradcam_by_autograd,
    memory,
    model_of,
    pictures,
    trained_a_step,
)  # fmt: skip

REFUSED = [name for name, public in NETWORKS.items() if public.refused]
BOXES = [name for name, public in NETWORKS.items() if public.boxes]
LONG = (
    "torchvision retinanet_resnet50_fpn", "torchvision ssdlite320", "torchvision fcn_resnet50",
    "timm tnt_s_patch16_224",
)  # fmt: skip
"""Networks of which many questions, and a step of training, take several seconds."""

TARGET = 1
ASKED = (
    "gradcam", "xgradcam", "layercam", "ablationcam", "reciprocam", "eigencam", "fullgrad", "cam", "saliency",
    "integrated_gradients", "guided_backprop", "deconvnet", "occlusion", "rise", "dff", "features", "filters",
    "predict",
)  # fmt: skip


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
        gradcam(model_of(built(public), public, logits=None), pictures(public), TARGET)
    said = str(refused.value)
    assert public.refused in said
    assert "logits=" in said
    assert "\n" not in said


@pytest.mark.parametrize("name", BOXES)
def test_boxes_need_no_function(name):
    public = NETWORKS[name]
    net, inputs = built(public), pictures(public)[:1]
    found = saliency(model_of(net, public, logits=None), inputs)[0]
    leaf = inputs.clone().requires_grad_()
    boxes = net(leaf)[0]
    best = int(boxes["scores"].argmax())
    (right,) = torch.autograd.grad(boxes["scores"][best], leaf)
    assert found.target.box == pytest.approx(boxes["boxes"][best].tolist(), abs=1e-3)
    np.testing.assert_allclose(found.values, right[0].numpy(), atol=1e-5 * float(right.abs().max()))


@pytest.mark.parametrize("name", [name for name, public in NETWORKS.items() if public.dense])
def test_an_answer_for_every_pixel_needs_no_function(name):
    public = NETWORKS[name]
    net, inputs = built(public), pictures(public)
    found = gradcam(model_of(net, public, logits=None), inputs, relu=False)
    regions = [(one.target.classes[0].index, torch.from_numpy(one.target.mask.array())) for one in found]

    def summed(returned):
        dense = returned["out"] if "out" in returned else returned["logits"]
        return torch.stack([(dense[row, index] * mask).sum() for row, (index, mask) in enumerate(regions)])[:, None]

    asked = public._replace(output=summed, grid=found.values.shape[1:])
    right = gradcam_by_autograd(net, asked, found.layer, inputs, 0).numpy()
    assert np.abs(right).max() > 0
    assert np.abs(found.values - right).max() <= 1e-5 * np.abs(right).max()


@pytest.mark.parametrize("name", [*REFUSED, *BOXES])
def test_a_unit_needs_no_class_scores(name):
    public = NETWORKS[name]
    net, inputs = built(public), pictures(public, 1)
    layer = public.layers[0]
    found = saliency(model_of(net, public, logits=None), inputs, f"{layer}:1")
    assert np.isfinite(found.values).all()
    assert found.values.any()


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in LONG else []) for name in NETWORKS]
)
def test_the_network_is_as_it_was_and_learns_as_it_would_have(name):
    public = NETWORKS[name]
    net, inputs = built(public), pictures(public)
    twin, quarter = copy.deepcopy(net), public.side // 2
    for mode, some in (
        (True, [(gradcam, {}), (guided_backprop, {})]),
        (False, [(reciprocam, {}), (occlusion, {"window": quarter, "stride": quarter})]),
    ):
        net.train(mode)
        twin.train(mode)
        before, model = memory(net), model_of(net, public)
        for method, settings in some:
            with suppress(CnnvizError):
                method(model, inputs[:1], TARGET, **settings)
            assert memory(net) == before
        copy.deepcopy(net)
    for one, other in zip(trained_a_step(net, inputs), trained_a_step(twin, inputs), strict=True):
        assert torch.equal(one, other)


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_methods_answer_or_say_why_not(name):
    public = NETWORKS[name]
    net = built(public)
    case, found, seconds = Case(model_of(net, public, name=name), pictures(public, 3)), {}, {}
    before = memory(net)
    for column in ASKED:
        start = time.perf_counter()
        found[column] = judged(questions()[column], case)
        seconds[column] = round(time.perf_counter() - start, 2)
        assert memory(net) == before, column
    faults = {column: each.sentence for column, each in found.items() if each.kind == "fault"}
    if where := os.environ.get("CNNVIZ_SWEEP_PIECES"):
        piece = {"network": name, **_layer_taken(name, net), "cells": found, "seconds": seconds}
        Path(where, f"{name.replace(' ', '_')}.json").write_text(json.dumps(piece, indent=1), encoding="utf-8")
    assert not faults


def _layer_taken(name, net):
    """The layer, the shape of its map, and how far the map is from that of autograd, of its largest value."""
    public, inputs = NETWORKS[name], pictures(NETWORKS[name])
    try:
        found = gradcam(model_of(net, public), inputs, TARGET, layer=public.layers[0] if public.named else None)
    except CnnvizError as error:
        return {"layer": str(error), "grid": "", "difference": ""}
    grid, right = "x".join(map(str, found.values.shape[1:])), None
    if found.layer in public.layers:
        right = gradcam_by_autograd(net, public, found.layer, inputs, TARGET).numpy()
    off = "another layer" if right is None else f"{np.abs(found.values - right).max() / np.abs(right).max():.0e}"
    return {"layer": f"{found.layer} (named)" if public.named else found.layer, "grid": grid, "difference": off}

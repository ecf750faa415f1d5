"""Model: what it is told, and what it notices."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import cnnviz
from cnnviz.errors import ModelError, ParameterError
from tests.support.networks import Small, model_of


def test_labels_by_index_are_put_in_order():
    assert model_of(Small(), labels={1: "b", 0: "a", 2: "c", 4: "e", 3: "d"}).labels == ("a", "b", "c", "d", "e")


@pytest.mark.parametrize("labels", ["labels.txt", {1: "b", 2: "c"}])
def test_labels_that_name_no_classes_are_refused(labels):
    with pytest.raises(ParameterError, match="labels"):
        model_of(Small(), labels=labels)


@pytest.mark.parametrize("size", [32, np.int64(32), (32, 32), [32, 32]])
def test_input_sizes(size):
    assert model_of(Small(), input_size=size).preprocess.input_size == (32, 32)


@pytest.mark.parametrize(
    "first", [nn.Conv2d(2, 6, 3), nn.ConvTranspose2d(2, 6, 3), nn.ConvTranspose2d(2, 6, 3, groups=2)]
)
def test_channels_are_those_of_the_first_convolution(first):
    net = nn.Sequential(first, nn.ReLU(), nn.Conv2d(6, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    model = cnnviz.Model(net.eval(), input_size=8)
    assert model.preprocess.channels == 2
    assert model.forward(torch.zeros(1, model.preprocess.channels, 8, 8)).shape == (1, 3)


def test_what_was_not_given_is_said_once(photo):
    model = cnnviz.Model(Small())
    (note,) = model.notes
    assert "input size 224" in note
    assert "ImageNet's mean and std" in note
    assert note in cnnviz.gradcam(model, photo).checks


def test_the_fingerprint_follows_the_weights():
    model = model_of(Small())
    first = model.fingerprint()
    assert model.fingerprint() == first
    with torch.no_grad():
        model.module.fc.weight[0, 0] += 1
    second = model.fingerprint()
    model.module.conv1.weight.data.mul_(1.01)
    assert len({first, second, model.fingerprint()}) == 3


@pytest.mark.parametrize("name", ["conv1.weight", "norm1.running_var", "norm1.num_batches_tracked", "spread"])
def test_the_fingerprint_notices_what_leaves_no_mark(name):
    net = Small().to(memory_format=torch.channels_last)
    net.register_buffer("spread", torch.ones(1).expand(3))
    net.register_buffer("empty", torch.ones(0))
    model = model_of(net)
    first, held = model.fingerprint(), net.state_dict(keep_vars=True)[name]
    held.data.view(-1)[:1].add_(1) if held.is_contiguous() else held.data[(0,) * held.dim()].add_(1)
    assert model.fingerprint() != first


def test_what_cannot_be_hooked_is_refused():
    with pytest.raises(ModelError, match="splits batches"):
        cnnviz.Model(torch.nn.DataParallel(Small()))
    with pytest.raises(ModelError, match=r"torch\.nn\.Module"):
        cnnviz.Model(lambda x: x)


def test_a_layer_of_one_place_has_no_map(small, inputs):
    for method in (cnnviz.gradcam, cnnviz.ablationcam, cnnviz.eigencam):
        with pytest.raises(cnnviz.CnnvizError, match="no spatial extent"):
            method(small, inputs, layer="pool")

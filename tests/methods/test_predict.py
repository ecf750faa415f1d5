"""What the network answers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cnnviz import gradcam, predict
from cnnviz.errors import ParameterError, TargetError
from tests.support.networks import LABELS, Small, model_of


@pytest.fixture
def logits(small, inputs):
    return small.module.eval()(inputs).detach()


def test_logits_and_probabilities(small, inputs, logits):
    found = predict(small, inputs)
    np.testing.assert_allclose(found.logits, logits, rtol=1e-6)
    shares = logits.double().softmax(dim=1)
    for row, best in enumerate(found):
        order = [each.target.index for each in best]
        assert order == logits[row].argsort(descending=True).tolist()
        np.testing.assert_allclose([each.probability for each in best], shares[row, order], rtol=1e-5)
        np.testing.assert_allclose([each.logit for each in best], logits[row, order], rtol=1e-5)
        assert [each.target.label for each in best] == [LABELS[index] for index in order]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_probabilities_in_the_place_of_logits_are_undone_and_said(dtype, inputs):
    net = Small().to(dtype)
    plain = predict(model_of(net), inputs)
    assert plain.checks == (
        "read as logits of classes that exclude each other (softmax); --head sigmoid for independent labels",
    )
    net.add_module("fc", torch.nn.Sequential(net.fc, torch.nn.Softmax(dim=1)))
    found = predict(model_of(net), inputs)
    assert found.checks == ("the network ends in a softmax: the logits before it are explained",)
    assert [one.probability for best in found for one in best] == [one.probability for best in plain for one in best]


@pytest.mark.parametrize(("k", "kept"), [(1, 1), (3, 3), (99, 5)])
def test_how_many_classes(k, kept, small, inputs):
    assert [len(best) for best in predict(small, inputs, k=k)] == [kept] * 3


def test_equal_logits_keep_the_classes_order(inputs):
    net = Small()
    torch.nn.init.zeros_(net.fc.weight)
    torch.nn.init.zeros_(net.fc.bias)
    assert [each.target.index for each in predict(model_of(net), inputs)[0]] == [0, 1, 2, 3, 4]


def test_a_single_logit_is_a_sigmoid(inputs):
    net = Small(classes=1).eval()
    (best,) = predict(model_of(net, labels=None, head="sigmoid"), inputs)[0]
    assert best.probability == pytest.approx(net(inputs)[0].sigmoid().item(), rel=1e-5)
    assert str(best.target) == "class 0"


def test_answers_are_targets(small, inputs):
    best = predict(small, inputs)[0][1].target
    assert str(gradcam(small, inputs[:1], best).targets[0]) == best.label


def test_labels_that_do_not_fit(inputs):
    with pytest.raises(TargetError, match="5 classes but 2 labels"):
        predict(model_of(Small(), labels=("a", "b")), inputs)


def test_as_text(small, photo_file, inputs):
    found = predict(small, [photo_file, inputs[0]], k=2)
    lines = str(found).splitlines()
    assert lines[0] == "photo.png"
    assert lines[3] == "input 2"
    assert lines[1].split()[0].endswith("%")
    assert lines[1].split()[2] in LABELS


def test_what_it_was_made_with(small, photo_file):
    made = predict(small, photo_file).provenance
    assert (made.method, made.settings) == ("predict", {"k": 5, "threshold": 0.5, "batch_size": 32})
    assert made.images[0]["name"] == "photo.png"
    with pytest.raises(ParameterError, match="k must be at least 1"):
        predict(small, photo_file, k=0)

"""Finding the logits in whatever a network returns."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from cnnviz import gradcam, predict
from cnnviz.engine.logits import select_logits
from cnnviz.errors import ExplanationError
from tests.support.networks import CONTAINERS, Answering, Outputs, Small, model_of

LOGITS = torch.arange(10.0).reshape(2, 5)


@pytest.mark.parametrize("how", CONTAINERS.values(), ids=CONTAINERS)
def test_without_being_told(how):
    assert torch.equal(select_logits(how(LOGITS)), LOGITS)


@pytest.mark.parametrize(
    ("output", "selector"),
    [
        ({"a": LOGITS + 1, "b": LOGITS}, "b"),
        ({0: LOGITS + 1, 1: LOGITS}, 1),
        ({0: LOGITS + 1, 1: LOGITS}, "1"),
        ((LOGITS + 1, LOGITS), 1),
        ((LOGITS + 1, LOGITS), "1"),
        ((LOGITS + 1, LOGITS), -1),
        (Outputs(LOGITS + 1, LOGITS), "aux"),
        (SimpleNamespace(logits=LOGITS + 1, other=LOGITS), "other"),
        ({"deep": {"er": [LOGITS]}}, lambda output: output["deep"]["er"][0]),
        (LOGITS[:, :, None, None].expand(2, 5, 3, 4), lambda output: output.mean(dim=(2, 3))),
    ],
)
def test_as_told(output, selector):
    assert torch.equal(select_logits(output, selector), LOGITS)


@pytest.mark.parametrize("shape", [(2,), (2, 1), (2, 1, 1, 1)])
def test_a_single_logit(shape):
    assert select_logits(torch.ones(shape), count=2).shape == (2, 1)


def test_class_scores_at_one_place():
    assert torch.equal(select_logits(LOGITS[:, :, None, None]), LOGITS)
    assert torch.equal(select_logits(LOGITS[:, :, None]), LOGITS)


@pytest.mark.parametrize(
    ("output", "path"),
    [
        ({"heads": {"age": [LOGITS, -LOGITS]}}, "heads.age.0"),
        (SimpleNamespace(heads=(None, {"x": LOGITS})), "heads.1.x"),
        ({"heads.age": LOGITS, "heads": {"age": -LOGITS}}, "heads.age"),
    ],
)
def test_a_path_leads_to_the_logits(output, path):
    assert torch.equal(select_logits(output, path, count=2), LOGITS)


@pytest.mark.parametrize(
    ("output", "selector", "said"),
    [
        ({"a": LOGITS, "b": LOGITS}, None, r"a dict with 'a': \(.*\), 'b': \(.*\); say which part .*--logits KEY"),
        ((LOGITS, LOGITS), None, "a tuple of 2"),
        ("text", None, "str"),
        (None, None, "NoneType"),
        ({"a": LOGITS}, "b", "has no part 'b'"),
        ((LOGITS,), 1, "has no part 1"),
        (SimpleNamespace(a=LOGITS), "b", "has no part 'b'"),
        ({"heads": {"age": [LOGITS]}}, "heads.size", r"no part 'heads.size' \('size' in a dict with 'age'"),
        ({"a": "text"}, "a", "holds no tensor there"),
        (torch.zeros(2, 5, 3, 4, 6, 2), None, r"shape \(2, 5, 3, 4, 6, 2\), not logits \(N, K\) or .*logits=function"),
        (torch.zeros(2, 7, 5), None, r"shape \(2, 7, 5\)"),
        (torch.zeros(3, 5), None, "answers for 3 images"),
        (LOGITS, 1, "answers for 5 images"),
    ],
)
def test_what_is_no_logits_is_explained(output, selector, said):
    with pytest.raises(ExplanationError, match=said):
        select_logits(output, selector, count=2)


class Squeezed(Small):
    """Its squeeze drops the batch too, where there is a single image."""

    def forward(self, x):
        return super().forward(x).squeeze()


@pytest.mark.parametrize("classes", [1, 5])
def test_a_squeeze_that_drops_the_batch(classes, inputs):
    plain, squeezed = Small(classes=classes), Squeezed(classes=classes)
    squeezed.load_state_dict(plain.state_dict())
    for images in (inputs, inputs[:1]):
        expected, found = (predict(model_of(net, labels=None), images) for net in (plain, squeezed))
        assert (expected.logits == found.logits).all()


def test_a_network_with_an_auxiliary_output(inputs):
    net = Answering(lambda logits: (logits - 1, logits))
    with pytest.raises(ExplanationError, match="a tuple of 2"):
        gradcam(model_of(net), inputs)
    found = gradcam(model_of(net, logits=1), inputs, 2)
    assert (found.values == gradcam(model_of(net.net), inputs, 2).values).all()


def test_a_segmenting_network_is_asked_about_pixels_or_by_a_function(inputs):
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 5, 1))
    assert gradcam(model_of(net, labels=None), inputs, "2@3,4")[0].target.count == 1
    found = gradcam(model_of(net, logits=lambda maps: maps.mean(dim=(2, 3))), inputs, 2, layer="1")
    assert found.values.shape == (3, 32, 32)


@pytest.mark.parametrize("output", [torch.zeros(2, 3, dtype=torch.int64), torch.zeros(2, 3, dtype=torch.complex64)])
def test_numbers_that_are_no_floats_are_no_logits(output):
    with pytest.raises(ExplanationError, match=r"The network's numbers are of type (int64|complex64), and logits are"):
        select_logits(output)


@pytest.mark.parametrize("key", ["²", "1" * 30, "1" * 5000, 10**30, -1 - 10**19])
def test_parts_that_there_cannot_be(key):
    for output in ((torch.zeros(2, 3),), {"a": torch.zeros(2, 3)}, torch.zeros(2, 3)):
        with pytest.raises(ExplanationError, match="has no part"):
            select_logits(output, key)


def test_numbers_that_are_no_probabilities_are_refused_as_such():
    from cnnviz.core.head import parse_head
    from cnnviz.engine.logits import recognise_head

    with pytest.raises(ExplanationError, match=r"reach from -0.5 to 3: leave out head='probabilities'"):
        recognise_head(parse_head("probabilities"), "", torch.tensor([[-0.5, 3.0]]), None)
    assert recognise_head(parse_head("probabilities"), "", torch.tensor([[0.0, 1.0]]), None).kind == "probabilities"

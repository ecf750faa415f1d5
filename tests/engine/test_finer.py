"""What tells a class from its nearest: the rivals are those of the picture, and stay."""

from __future__ import annotations

import pytest
import torch

from cnnviz.core.parse_target import parse_target
from cnnviz.core.target import ClassTarget, Finer, TopClass
from cnnviz.engine.scores.score import score, settle
from cnnviz.errors import TargetError
from tests.support.networks import LABELS

LOGITS = torch.tensor([[1.0, 5.0, 2.0, 0.5, -1.0], [3.0, 0.0, 4.0, 9.0, 2.0]])


@pytest.mark.parametrize("text", ["top vs similar", "top - similar"])
def test_the_top_class_against_its_nearest(text):
    one, other = settle([parse_target(text, LABELS)] * 2, LOGITS, LABELS)
    assert (one.first, one.others) == (ClassTarget(1, "dog"), (2, 0, 3))
    assert (other.first, other.others) == (ClassTarget(3, "fish"), (2, 0, 4))
    assert (str(one), str(other)) == ("dog vs similar", "fish vs similar")
    assert score([one, other], LOGITS).tolist() == pytest.approx([5 - 0.6 * 3.5 / 3, 9 - 0.6 * 9 / 3])


def test_the_nearest_may_be_above():
    (found,) = settle([parse_target("frog vs similar", LABELS)], LOGITS[1:], LABELS)
    assert found.others == (0, 1, 2)
    assert score([found], LOGITS[1:]).tolist() == pytest.approx([2 - 0.6 * 7 / 3])


def test_the_rivals_stay_when_the_logits_change():
    (found,) = settle([Finer(ClassTarget(0, "cat"), rivals=1)], LOGITS[:1], LABELS)
    assert found.others == (3,)
    changed = torch.tensor([[1.0, 1.1, 0.0, 9.0, 0.0]])
    assert score([found], changed).tolist() == pytest.approx([1 - 0.6 * 9])
    assert settle([found], changed, LABELS) == [found]


@pytest.mark.parametrize(("classes", "others"), [(1, ()), (2, (1,)), (3, (1, 2))])
def test_fewer_classes_than_rivals(classes, others):
    logits = torch.arange(classes)[None].float()
    (found,) = settle([Finer(ClassTarget(0), strength=1.0)], logits, None)
    assert found.others == others
    expected = -sum(others) / max(len(others), 1)
    assert score([found], logits).tolist() == pytest.approx([expected])


def test_equal_targets_of_images_with_other_rivals_are_kept_apart():
    finer = Finer(TopClass(), strength=1.0, rivals=1)
    logits = torch.tensor([[5.0, 4.0, 0.0, 0.0, 0.0], [5.0, 0.0, 3.0, 0.0, 0.0], [5.0, 4.0, 0.0, 0.0, 0.0]])
    assert score(settle([finer] * 3, logits, LABELS), logits).tolist() == [1.0, 2.0, 1.0]


def test_the_choice_of_rivals_has_no_gradient_but_their_logits_have():
    logits = LOGITS[:1].clone().requires_grad_()
    found = settle([Finer(ClassTarget(1))], logits, LABELS)
    (gradient,) = torch.autograd.grad(score(found, logits).sum(), logits)
    assert torch.allclose(gradient, torch.tensor([[-0.2, 1.0, -0.2, -0.2, 0.0]]))


def test_rivals_that_there_are_not():
    with pytest.raises(TargetError, match="There is no class 7"):
        settle([Finer(ClassTarget(1), others=(7,))], LOGITS[:1], LABELS)

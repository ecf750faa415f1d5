"""The cases that claims about peers rest on: we are right on each, and their right values are not trivial."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.claims.claim import examine
from benchmarks.claims.rules import Hidden, example, no_operation
from benchmarks.correctness import CLAIMS


@pytest.mark.parametrize("make", CLAIMS, ids=lambda make: make.__name__)
def test_cnnviz_is_right(make):
    claim = make()
    (ours,) = [one for one in examine(claim) if one.who == "cnnviz"]
    assert ours.verdict == "right", ours
    assert np.abs(claim.right).max() > 0


@pytest.mark.parametrize("make", CLAIMS, ids=lambda make: make.__name__)
def test_a_wrong_answer_is_called_wrong(make):
    claim = make()
    wrong = type(claim)(claim.title, claim.case, claim.rule, claim.right, {"nobody": lambda: claim.right * 1.1})
    assert examine(wrong)[0].verdict == "wrong"


def test_the_case_of_guided_backpropagation_holds_saturated_units_that_matter():
    """Masking at 6 gives another value there, so that the claim tells the two rules apart."""
    net, inputs = Hidden(), 3 * example()
    kernel, before, weights = net.written(inputs)
    assert (before > 6).any()
    masked = np.einsum("kc,khw->chw", kernel, ((before > 0) & (before < 6)) * np.maximum(weights, 0)[:, None, None])
    assert np.abs(masked - no_operation().right).max() > 0.1 * np.abs(masked).max()

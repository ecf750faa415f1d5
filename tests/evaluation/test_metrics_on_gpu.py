"""Metrics that ask the network say the same on a GPU."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cnnviz.evaluation.faithfulness import average_scores, insertion, srg
from cnnviz.evaluation.infidelity import infidelity
from cnnviz.evaluation.metric import Case
from cnnviz.evaluation.road import road
from tests.support.judging import linear_case

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("metric", [srg, insertion, infidelity, road])
def test_the_values_are_those_of_the_cpu(gpu, metric):
    rng = np.random.default_rng(0)
    case = linear_case(rng.normal(size=(3, 24, 20)), rng.normal(size=(3, 24, 20)))
    maps = rng.random((3, 24, 20))
    found = metric(_moved(case, gpu), maps)
    np.testing.assert_allclose(found, metric(case, maps), rtol=1e-3, atol=1e-3)


def test_average_scores_are_those_of_the_cpu(gpu):
    rng = np.random.default_rng(0)
    case = linear_case(rng.normal(size=(3, 24, 20)), rng.normal(size=(3, 24, 20)))
    maps = rng.random((3, 24, 20))
    for name, values in average_scores(_moved(case, gpu), maps).items():
        np.testing.assert_allclose(values, average_scores(case, maps)[name], rtol=1e-9, atol=1e-9)


def _moved(case: Case, gpu) -> Case:
    """The case on the GPU; what answers stays on the CPU."""
    return replace(
        case,
        inputs=case.inputs.to(gpu),
        logit=lambda pictures: case.logit(pictures.cpu()),
        probability=lambda pictures: case.probability(pictures.cpu()),
        unit=case.unit.to(gpu),
    )

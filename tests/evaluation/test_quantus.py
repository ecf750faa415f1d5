"""What Quantus 0.6 says where it is what the papers are, as it was kept by ``benchmarks.quantus_values``."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks.quantus_values import CLASSES, IN_STEP, SIDE, kept, maps_and_masks, network_and_pictures
from cnnviz.evaluation.complexity import entropy, gini
from cnnviz.evaluation.faithfulness import area, deletion, deletion_curve
from cnnviz.evaluation.localisation import mass, pointing, rank
from cnnviz.evaluation.metric import Case
from tests.support.judging import given_case


@pytest.fixture(scope="module")
def values():
    found = kept()
    assert found["version"] == "0.6.0"
    return found


@pytest.mark.parametrize("metric", [pointing, mass, rank])
def test_localisation(values, metric):
    settings = {"tolerance": 0} if metric is pointing else {}
    maps, masks = maps_and_masks()
    found = [metric(given_case(mask), one[None], **settings)[0] for one, mask in zip(maps, masks, strict=True)]
    np.testing.assert_allclose(found, values[metric.__name__], rtol=0, atol=1e-6)
    assert len(set(found)) > 1


@pytest.mark.parametrize("metric", [gini, entropy])
def test_complexity(values, metric):
    maps, _ = maps_and_masks()
    found = metric(given_case(np.ones((SIDE, SIDE))), maps)
    np.testing.assert_allclose(found, values[metric.__name__], rtol=0, atol=1e-5)
    assert len(set(found)) == len(maps)


def test_pixel_flipping_by_the_entries_of_all_channels(values):
    weights, pictures, attributions = network_and_pictures()
    for at, wanted in enumerate((1, 2)):

        def probability(inputs, wanted=wanted):
            logits = inputs.flatten(1) @ torch.from_numpy(weights.reshape(CLASSES, -1)).T
            return logits.softmax(dim=1)[:, wanted]

        case = Case(torch.from_numpy(pictures[at : at + 1]), probability, probability, torch.ones(3, 1, 1))
        steps = attributions[at].size // IN_STEP
        curve = deletion_curve(case, attributions[at : at + 1], steps=steps)
        expected = np.array(values["deletion"][at])
        np.testing.assert_allclose(curve[0, 1:], expected, rtol=0, atol=1e-6)
        whole = np.concatenate([curve[0, :1], expected])
        trapezoids = ((whole[1:] + whole[:-1]) / 2).mean()
        assert area(curve)[0] == pytest.approx(trapezoids, abs=1e-6)
        assert deletion(case, attributions[at : at + 1], steps=steps)[0] == area(curve)[0]
        assert np.ptp(curve) > 0.1

"""ROAD on photographs: the curves are those of a sparse direct solver."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import cnnviz
from cnnviz.evaluation.faithfulness import order_ranks
from cnnviz.evaluation.metric import Case
from cnnviz.evaluation.road import FRACTIONS, impute, road_curves
from tests.support.imputing import impute_sparsely

PHOTOS = ("samoyed", "cat", "chickadee", "dragonfly", "macaw")
pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def model(real):
    return cnnviz.load_model("squeezenet1_0", device="cpu")


@pytest.mark.parametrize(
    ("name", "fractions"),
    [(PHOTOS[0], (0.2, 0.5)), *(pytest.param(name, FRACTIONS, marks=pytest.mark.slow) for name in PHOTOS)],
)
def test_the_curves_are_those_of_a_sparse_direct_solver(real, model, name, fractions):
    pytest.importorskip("scipy.sparse")
    explained = cnnviz.gradcam(model, real / "photos" / f"{name}.jpg")
    inputs = model.preprocess(explained[0].picture)[0][None]
    index = explained[0].target.index

    def probability(pictures):
        with torch.no_grad():
            return model.module.eval()(pictures).softmax(dim=1)[:, index]

    _, std = model.preprocess.columns()
    case = Case(inputs, probability, probability, 1 / std, seed=4)
    noise = np.random.default_rng(4).normal(0, 0.01, inputs.shape) / std.numpy()
    found = road_curves(case, explained.upsampled(), fractions=fractions)[:, 0]
    worst = 0.0
    for row, least_first in enumerate((False, True)):
        ranks = order_ranks(explained.upsampled(), least_first=least_first)[0]
        for column, fraction in enumerate(fractions):
            missing = ranks < round(fraction * ranks.size)
            exact = impute_sparsely(inputs[0].double().numpy(), missing)
            ours = impute(inputs, torch.from_numpy(missing)[None, None])[0].numpy()
            assert np.linalg.norm(ours - exact) < 0.05 * np.linalg.norm(exact[:, missing])
            answer = probability(torch.from_numpy(exact + missing * noise[0])[None].float()).item()
            worst = max(worst, abs(answer - found[row, column]))
    assert worst < 0.01

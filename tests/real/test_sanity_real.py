"""Known results on trained networks: maps that survive randomisation, and maps that point at the right cell."""

from __future__ import annotations

import numpy as np
import pytest

import cnnviz
from cnnviz.evaluation.mosaics import grid_pointing
from cnnviz.evaluation.randomisation.mprt import mprt
from cnnviz.evaluation.randomisation.strip import draw_strip
from cnnviz.evaluation.statistics import bootstrap
from cnnviz.evaluation.study.candidates import read_candidates

pytestmark = [pytest.mark.real, pytest.mark.slow]
NETWORKS = "squeezenet1_0", "mobilenet_v2"


@pytest.fixture(scope="module", params=NETWORKS)
def model(request, real):
    return cnnviz.load_model(request.param, device="cpu")


@pytest.fixture(scope="module")
def photos(real):
    return [cnnviz.read_picture(path) for path in sorted((real / "photos").glob("*.jpg"))]


def explainers(model, methods):
    return {each.name: each.explain for each in read_candidates(model, methods)}


def test_guided_backpropagation_survives_randomising_the_top_half_and_gradcam_does_not(model, photos):
    before = model.fingerprint()
    found = mprt(model, photos, None, explainers(model, "gradcam,guided-backprop"), depths=(0.5,), seeds=(0, 1, 2))
    gradcam, guided = found.at(0.5)
    assert len(found.pictures) == 8
    interval = bootstrap(guided - gradcam)
    assert float(interval.low) > 0.1
    assert guided.mean() > 0.3
    assert abs(gradcam.mean()) < 0.15
    assert gradcam.mean() < found.floor["spearman"][0].mean()
    assert [cell.caption.startswith("floor 0.") for row in draw_strip(found).sheet.rows[:2] for cell in row[1:2]] == [
        True
    ] * 2
    assert model.fingerprint() == before


def test_gradcam_points_at_the_right_cell_more_than_saliency(model, photos):
    found = grid_pointing(model, photos, explainers(model, "gradcam,saliency"), count=12)
    gradcam, saliency = found.values
    assert found.mosaics[0].inputs.shape == (1, 3, 448, 448)
    assert len({mosaic.names for mosaic in found.mosaics}) == 12
    assert int((gradcam > saliency).sum()) >= 11
    assert 0.25 < saliency.mean() < 0.5 < gradcam.mean()
    assert found.undefined.tolist() == [0, 0]
    assert np.isfinite(found.shares).all()

"""Occlusion of real networks on real photographs."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import cnnviz
from cnnviz.engine.windows.window import Windows
from cnnviz.methods.occlusion.estimate import error_bar, sample
from cnnviz.models.inference_copy import inference_copy

pytestmark = [pytest.mark.real, pytest.mark.slow]

NETWORKS = ("squeezenet1_0", "mobilenet_v2")
SEEDS = 20
TOTAL = 1 + 625
KINDS = ("probability", "logit")


def inside(peak, photo, boxes) -> bool:
    height, width = photo.size
    x, y = (peak[0] + 0.5) / width, (peak[1] + 0.5) / height
    return any(left <= x <= right and top <= y <= bottom for left, top, right, bottom in boxes)


@pytest.fixture(scope="module")
def exact(real):
    """For each network, photograph and score the map's window drops ``(1, 625)``, from one exact run each."""
    found = {}
    for name in NETWORKS:
        model = cnnviz.load_model(name)
        for photo in sorted((real / "photos").glob("*.jpg")):
            found |= {
                (name, photo.name, kind): drops for kind, drops in zip(KINDS, drops_of(model, photo), strict=True)
            }
    return found


def drops_of(model, photo):
    inputs, _ = model.preprocess(cnnviz.read_picture(photo))
    windows = Windows.over((224, 224), 32, 8)
    quick = inference_copy(model, inputs[None]).model
    logits = []
    with torch.inference_mode():
        top = int(quick.module(inputs[None]).argmax())
        for numbers in torch.arange(-1, len(windows)).split(32):
            hidden = torch.where(windows.masks(numbers) > 0, 0, inputs).contiguous(memory_format=torch.channels_last)
            logits.append(quick.module(hidden).double())
    whole = torch.cat(logits)
    for scores in (whole.softmax(dim=1)[:, top], whole[:, top]):
        yield (scores[:1] - scores[1:]).numpy()[None]


def ranks(values):
    return values.argsort(kind="stable").argsort(kind="stable")


def agreement(drops, count, seed):
    """Pearson and Spearman correlation with the exact map, how far the peak moved in pixels, and the bar's truth."""
    found = sample(lambda numbers: drops[:, numbers], (25, 25), count, seed)
    windows = Windows.over((224, 224), 32, 8)
    maps = [windows.average(torch.from_numpy(each)).numpy()[0] for each in (drops, found.values)]
    one, other = (each.ravel() for each in maps)
    peaks = [np.array(np.unravel_index(each.argmax(), each.shape)) for each in maps]
    beyond = np.abs(found.values[0] - drops[0]) > error_bar(found.misses[0], found.unevaluated)
    return (
        np.corrcoef(one, other)[0, 1],
        np.corrcoef(ranks(one), ranks(other))[0, 1],
        np.linalg.norm(peaks[0] - peaks[1]),
        beyond.sum() <= 0.1 * found.unevaluated,
    )


def test_a_quarter_and_a_third_of_the_forwards(exact, record_property):
    for share, least in ((4, 0.0), (3, 0.95)):
        count = TOTAL // share - 2
        for kind in KINDS:
            pairs = [agreement(drops, count, 0) for (_, _, each), drops in exact.items() if each == kind]
            pearson, spearman, moved, _ = (np.array(column) for column in zip(*pairs, strict=True))
            said = f"1/{share} {kind}: Pearson {pearson.min():.3f}, Spearman {np.median(spearman):.3f} (median), "
            said += f"{spearman.min():.3f} (least), peak moved by {np.median(moved):.0f} px, at most {moved.max():.0f}"
            record_property(f"1/{share} {kind}", said)
            assert pearson.min() >= 0.95
            assert np.median(spearman) >= 0.95
            assert spearman.min() >= least


def test_the_error_bar_is_true_as_often_as_it_says(exact):
    true = [agreement(drops, TOTAL // 4 - 2, seed)[3] for drops in exact.values() for seed in range(SEEDS)]
    assert np.mean(true) >= 0.93


@pytest.mark.parametrize("name", NETWORKS)
def test_the_peak_lies_on_the_object(name, real):
    labelled = json.loads((real / "photos" / "boxes.json").read_text())
    model = cnnviz.load_model(name)
    missed = []
    for photo, about in labelled.items():
        if photo.startswith("_"):
            continue
        found = cnnviz.occlusion(model, real / "photos" / photo, about["label"])[0]
        if not inside(found.peak(), found.picture, about["boxes"]):
            missed.append((photo, found.peak()))
    assert not missed

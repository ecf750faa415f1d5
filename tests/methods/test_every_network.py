"""Every classification network of torchvision, every method: an answer that is sound, or a sentence that says why not.

One network of each family, or all of them with ``CNNVIZ_SWEEP=all``. Each leaves a piece in the folder that
``CNNVIZ_SWEEP_PIECES`` names, where the next run goes on (without it in pytest's cache, where every run starts anew);
``python -m benchmarks.torchvision_methods FOLDER`` joins them into the table.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torchvision
from _pytest.mark import ParameterSet
from torchvision.models import get_model_weights

from cnnviz import gradcam
from cnnviz.errors import UsageError
from tests.support.every_network import Case, Found, Held, case_of, judged, questions
from tests.support.torchvision_nets import torchvision_net

NETWORKS = sorted(torchvision.models.list_models(module=torchvision.models))
FAMILIES = (
    "convnext_tiny", "densenet121", "efficientnet_b0", "googlenet", "mnasnet0_5", "mobilenet_v3_small",
    "regnet_y_400mf", "resnet18", "shufflenet_v2_x0_5", "squeezenet1_1", "swin_v2_t", "vit_b_16",
)  # fmt: skip


def _params() -> list[ParameterSet]:
    whole = os.environ.get("CNNVIZ_SWEEP") == "all"
    rest = pytest.mark.skip(reason="one network of each family; CNNVIZ_SWEEP=all runs all of them")
    return [pytest.param(name, marks=[] if whole or name in FAMILIES else [rest]) for name in NETWORKS]


@pytest.fixture
def folder(request):
    """Where the pieces are written."""
    where = os.environ.get("CNNVIZ_SWEEP_PIECES")
    chosen = Path(where) if where else request.config.cache.mkdir("every_network")
    chosen.mkdir(parents=True, exist_ok=True)
    return chosen


@pytest.mark.slow
@pytest.mark.parametrize("name", _params())
def test_every_method_answers_or_says_why_not(name, folder):
    piece = folder / f"{name}.json"
    if os.environ.get("CNNVIZ_SWEEP_PIECES") and piece.exists():
        _blame({key: Found(*cell) for key, cell in json.loads(piece.read_text(encoding="utf-8"))["cells"].items()})
        return
    found, seconds = _swept(name)
    _write(piece, name, found, seconds)
    _blame(found)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (np.array([1.0, 2.0]), "ok"),
        (np.array([1.0, np.nan]), "fault"),
        (np.array([]), "fault"),
        (ZeroDivisionError("by zero"), "fault"),
        (UsageError("Layer 'conv1' of 'small' has 3 places."), "refused"),
    ],
)
def test_what_an_answer_is_worth(answer, kind, small, inputs):
    def question(_case):
        if isinstance(answer, Exception):
            raise answer
        return answer

    found = judged(question, Case(small, inputs))
    assert found.kind == kind
    if kind == "refused":
        assert found.sentence == "Layer 'LAYER' of NETWORK has N places."


def test_a_map_that_says_nothing_has_to_say_so(small, inputs):
    found = gradcam(small, inputs[:1], 1)

    def worth(fill):
        return judged(
            lambda case: replace(found[0], values=np.full((4, 4), fill, np.float32)), Case(small, inputs)
        ).kind

    assert (worth(0.0), worth(-1.0), worth(2.0)) == ("zero", "zero", "fault")
    assert judged(lambda case: found, Case(small, inputs)).kind in ("ok", "zero")


def test_whatever_is_changed_in_a_network_is_seen(small):
    held, weight = Held(small.module), small.module.conv1.weight
    assert not held.changed()
    weight.data[0, 0, 0, 0] += 1e-6
    assert held.changed() == ["the numbers"]
    weight.data[0, 0, 0, 0] = held._copies[0][0, 0, 0, 0]
    assert not held.changed()
    small.module.relu1.train(not small.module.relu1.training)
    assert held.changed() == ["relu1 training"]


def _swept(name: str) -> tuple[dict[str, Found], dict[str, float]]:
    case = case_of(torchvision_net(name, auxiliary=True), name)
    held, found, seconds = Held(case.model.module), {}, {}
    for column, question in questions().items():
        start = time.perf_counter()
        found[column] = judged(question, case)
        seconds[column] = time.perf_counter() - start
        changed = held.changed()
        assert not changed, f"{column} left {name} changed: {changed}"
    return found, seconds


def _blame(found: dict[str, Found]) -> None:
    faults = {column: each.sentence for column, each in found.items() if each.kind == "fault"}
    assert not faults, faults


def _write(piece: Path, name: str, found: dict[str, Found], seconds: dict[str, float]) -> None:
    weights = int(get_model_weights(name).DEFAULT.meta["num_params"])
    about = {"network": name, "weights": weights, "seconds": {key: round(each, 2) for key, each in seconds.items()}}
    text = json.dumps({**about, "cells": found}, indent=1)
    piece.with_suffix(".new").write_text(text + "\n", encoding="utf-8")
    piece.with_suffix(".new").rename(piece)

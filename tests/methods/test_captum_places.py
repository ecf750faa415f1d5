"""captum's algorithms on signals and volumes: its own numbers, one place deep or not."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from captum import attr

import cnnviz
from cnnviz.errors import ParameterError
from tests.support.depth_one import model_of_places, noise_of

SIZES = [(48,), (12, 9, 10)]
IDS = ["signal", "volume"]
DEEP = [((40,), (1, 40)), ((18, 16), (1, 18, 16))]


def cells(size: tuple[int, ...], counts: tuple[int, ...]) -> torch.Tensor:
    """The number of each place's cell."""
    along = [torch.arange(length) * count // length for length, count in zip(size, counts, strict=True)]
    number = torch.zeros((), dtype=torch.int64)
    for line, count in zip(along, counts, strict=True):
        number = number[..., None] * count + line
    return number[None, None]


def called(name: str, model: cnnviz.Model, x: torch.Tensor, **settings) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = getattr(attr, name)(model.module).attribute(x, target=1, **settings)
    return found.detach().numpy()


@pytest.mark.parametrize("size", SIZES, ids=IDS)
def test_deeplift_is_captums_and_complete(size):
    model, x = model_of_places(len(size), size), noise_of(size, count=2)
    found = cnnviz.captum(model, x, 1, algorithm="DeepLift")
    assert np.allclose(found.values, called("DeepLift", model, x, baselines=torch.zeros_like(x)), atol=1e-6)
    assert float(found.checks[0].split()[2]) < 1e-9


@pytest.mark.parametrize("name", ["KernelShap", "Lime", "FeatureAblation"])
@pytest.mark.parametrize(("size", "counts"), [((48,), (4,)), ((12, 9, 10), (2, 3, 1))], ids=IDS)
def test_cells_switched_off_are_captums(name, size, counts):
    model, x = model_of_places(len(size), size), noise_of(size) * 10
    found = cnnviz.captum(model, x, 1, algorithm=name, cells=counts, samples=40, seed=7)
    torch.manual_seed(7)
    more = {} if name == "FeatureAblation" else {"n_samples": 40}
    theirs = called(name, model, x, baselines=torch.zeros_like(x), feature_mask=cells(size, counts), **more)
    assert np.abs(theirs).max() > 0
    assert np.allclose(found.values, theirs, atol=1e-5 * np.abs(theirs).max())


@pytest.mark.parametrize("size", SIZES, ids=IDS)
def test_gradient_shap_adds_up_to_the_change(size):
    model, x = model_of_places(len(size), size), noise_of(size)
    found = cnnviz.captum(model, x, 1, algorithm="GradientShap", samples=300)
    with torch.no_grad():
        change = float((model.module(x) - model.module(torch.zeros_like(x)))[0, 1])
    assert found.values.sum() == pytest.approx(change, abs=0.1 * abs(change))


@pytest.mark.parametrize("name", ["DeepLift", "GradientShap", "FeatureAblation"])
@pytest.mark.parametrize(("size", "deeper"), DEEP, ids=["signal as picture", "picture as volume"])
def test_an_input_one_place_deep_is_attributed_the_same(name, size, deeper):
    one = cnnviz.captum(model_of_places(len(size), size), x := noise_of(size), 1, algorithm=name, cells=4)
    model = model_of_places(len(deeper), deeper, flat=1)
    other = cnnviz.captum(model, x.reshape(1, 2, *deeper), 1, algorithm=name, cells=4)
    scale = np.abs(one.values).max()
    assert np.abs(other.values.reshape(one.values.shape) - one.values).max() <= 1e-6 * scale > 0


def test_cells_for_another_number_of_axes_are_refused():
    with pytest.raises(ParameterError, match="cells must be one number, or one for each axis of a volume"):
        cnnviz.captum(model_of_places(3, SIZES[1]), noise_of(SIZES[1]), 1, algorithm="Lime", cells="4x4")

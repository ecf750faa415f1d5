"""What Quantus says of small cases, kept in a file that tests compare with; made in an environment of its own.

Quantus brings another OpenCV, and its area under a curve calls what NumPy no longer has, so it stands beside neither
cnnviz nor its tests:

python -m venv other && other/bin/pip install 'quantus==0.6.*' torch && other/bin/python -m benchmarks.quantus_values
"""

from __future__ import annotations

import argparse
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

KEPT = Path(__file__).parents[1] / "tests" / "evaluation" / "quantus.json"
SIDE, CLASSES, IN_STEP = 8, 4, 8

Array = NDArray[np.float64]


def maps_and_masks() -> tuple[Array, NDArray[np.bool_]]:
    """Maps ``(6, 8, 8)`` without negative values, one maximum and no ties each, and masks that hold something."""
    rng = np.random.default_rng(20)
    maps = rng.random((6, SIDE, SIDE)) ** np.array([1, 1, 2, 4, 8, 16]).reshape(-1, 1, 1)
    return maps, rng.random((6, SIDE, SIDE)) < np.array([0.1, 0.5, 0.9, 0.2, 0.4, 0.6]).reshape(-1, 1, 1)


def network_and_pictures() -> tuple[Array, Array, Array]:
    """Weights ``(classes, 3, 8, 8)`` of a linear network, pictures ``(2, 3, 8, 8)`` and attributions likewise."""
    rng = np.random.default_rng(21)
    weights = rng.normal(size=(CLASSES, 3, SIDE, SIDE)) / 4
    return weights, rng.normal(size=(2, 3, SIDE, SIDE)), rng.normal(size=(2, 3, SIDE, SIDE))


def small_cases() -> dict[str, tuple[Array, NDArray[np.bool_]]]:
    """Maps and masks ``(N, 2, 2)`` on which Quantus is not what the paper is."""
    one = np.array([[4.0, 1.0], [2.0, 3.0]])
    left = np.array([[True, False], [True, False]])
    return {
        "empty": (np.stack([one] * 3), np.stack([left, ~left, np.zeros((2, 2), bool)])),
        "plateau": (np.array([[[1.0, 1.0], [0.0, 1.0]]]), left[None]),
        "signed": (np.array([[[3.0, -2.0], [1.0, 0.0]]]), left[None]),
    }


def kept() -> dict[str, Any]:
    """The values of the file."""
    found: dict[str, Any] = json.loads(KEPT.read_text(encoding="utf-8"))
    return found


def measure() -> dict[str, Any]:
    """What Quantus says."""
    import quantus

    def judge(metric: Any, maps: Array, masks: NDArray[np.bool_]) -> list[float]:
        pictures = np.zeros((len(maps), 1, *maps.shape[1:]))
        classes = np.zeros(len(maps), int)
        given = {"model": None, "x_batch": pictures, "y_batch": classes, "channel_first": True}
        found = metric(a_batch=maps[:, None].copy(), s_batch=masks[:, None], **given)
        return [float(each) for each in np.ravel(found)]

    quiet = {"disable_warnings": True, "display_progressbar": False}
    usual = {
        "pointing": quantus.PointingGame(**quiet),
        "mass": quantus.RelevanceMassAccuracy(**quiet),
        "rank": quantus.RelevanceRankAccuracy(**quiet),
        "gini": quantus.Sparseness(**quiet),
        "entropy": quantus.Complexity(**quiet),
    }
    found: dict[str, Any] = {"version": quantus.__version__}
    found |= {name: judge(metric, *maps_and_masks()) for name, metric in usual.items()}
    found["deletion"] = flip(quantus.PixelFlipping(features_in_step=IN_STEP, perturb_baseline=0.0, **quiet))
    cases = small_cases()
    found["small"] = {
        "empty": judge(usual["pointing"], *cases["empty"]),
        "plateau": judge(usual["pointing"], *cases["plateau"]),
        "signed": judge(usual["mass"], *cases["signed"]),
    }
    return found


def flip(metric: Any) -> list[list[float]]:
    """Curves of pixel flipping by the entries of all channels, without the probability before the first step."""
    import torch

    weights, pictures, attributions = network_and_pictures()
    linear = torch.nn.Linear(3 * SIDE**2, CLASSES, bias=False)
    with torch.no_grad():
        linear.weight.copy_(torch.from_numpy(weights.reshape(CLASSES, -1)))
    network = torch.nn.Sequential(torch.nn.Flatten(), linear).eval()
    given = {"x_batch": pictures, "y_batch": np.array([1, 2]), "a_batch": attributions}
    curves = metric(model=network, channel_first=True, softmax=True, device="cpu", **given)
    return [[float(value) for value in curve] for curve in curves]


def main() -> None:
    """Ask Quantus and keep its values."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=KEPT)
    chosen = parser.parse_args()
    warnings.simplefilter("ignore")
    chosen.out.write_text(json.dumps(measure(), indent=1) + "\n", encoding="utf-8")
    print(chosen.out)


if __name__ == "__main__":
    main()

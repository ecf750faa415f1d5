"""Claims about metrics of maps: what a hit is, and what a share is. Quantus's values are those that are kept."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from benchmarks.claims.claim import Claim, Values
from benchmarks.quantus_values import kept, small_cases
from cnnviz.evaluation.localisation import mass, pointing
from cnnviz.evaluation.metric import Case

__all__ = ["empty_mask", "plateau", "signed_mass"]


def empty_mask() -> Claim:
    """The pointing game where nothing is annotated."""
    return Claim(
        "A picture without an annotated object is no hit",
        "2x2 maps with one maximum: on the object, beside it, and with an empty mask; the pointing game's accuracy",
        "1 hit of 2 pictures that can be judged",
        np.array([0.5]),
        {
            "cnnviz": lambda: np.array([np.nanmean(_ours("empty", pointing, tolerance=0))]),
            _quantus(): lambda: np.array([np.nanmean(kept()["small"]["empty"])]),
        },
    )


def plateau() -> Claim:
    """The pointing game of a map with several maxima."""
    return Claim(
        "A plateau of maxima hits as often as one of its points does",
        "a 2x2 map with three equal maxima, of which one lies on the object; the pointing game",
        "the mean over the three points that the map may be said to point at",
        np.array([1 / 3]),
        {
            "cnnviz": lambda: _ours("plateau", pointing, tolerance=0),
            _quantus(): lambda: np.array(kept()["small"]["plateau"]),
        },
    )


def signed_mass() -> Claim:
    """The mass in the mask of a map that has negative values too."""
    return Claim(
        "The share of a map's evidence that lies on the object is at most 1",
        "a 2x2 map of 3, -2, 1, 0, of which 3 and 1 lie on the object; the mass in the mask",
        "the share of the positive values: 4 of 4",
        np.array([1.0]),
        {
            "cnnviz": lambda: _ours("signed", mass),
            _quantus(): lambda: np.array(kept()["small"]["signed"]),
        },
    )


def _ours(name: str, metric: Any, **settings: Any) -> Values:
    """A metric of ours on a small case, picture by picture."""

    def nothing(pictures: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(pictures))

    found = []
    for one, mask in zip(*small_cases()[name], strict=True):
        case = Case(torch.zeros(1, 1, *mask.shape), nothing, nothing, torch.ones(1, 1, 1), mask)
        found.append(metric(case, one[None], **settings)[0])
    return np.array(found)


def _quantus() -> str:
    return f"Quantus {kept()['version']} (kept)"

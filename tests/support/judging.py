"""Cases to judge maps on, whose values can be worked out by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from cnnviz.evaluation.metric import Case


class Asked:
    """A network as a case asks it, which keeps how many pictures it was asked about, and in how many batches."""

    def __init__(self, answer: Callable[[Tensor], Tensor]) -> None:
        self.answer, self.pictures, self.batches = answer, 0, []

    def __call__(self, inputs: Tensor) -> Tensor:
        self.pictures += len(inputs)
        self.batches.append(len(inputs))
        return self.answer(inputs)


def linear_case(weights, inputs, *, bias: float = 0.0, **fields) -> Case:
    """In float64 a network whose logit and probability are the sum of weights times inputs, both ``(C, H, W)``."""
    weights, inputs = (torch.as_tensor(np.asarray(each), dtype=torch.float64) for each in (weights, inputs))
    answer = Asked(lambda pictures: (pictures * weights).sum((1, 2, 3)) + bias)
    return Case(inputs[None], answer, answer, torch.ones(len(inputs), 1, 1, dtype=torch.float64), **fields)


def contributions(case: Case) -> np.ndarray:
    """What each pixel of a linear case adds to its score, ``(H, W)``: the perfect map."""
    pixels = case.inputs[0].clone()
    found = np.zeros(pixels.shape[1:])
    nothing = case.logit.answer(torch.zeros_like(case.inputs)).item()
    for at in np.ndindex(*found.shape):
        alone = torch.zeros_like(pixels)
        alone[:, at[0], at[1]] = pixels[:, at[0], at[1]]
        found[at] = case.logit.answer(alone[None]).item() - nothing
    return found


def given_case(mask, *, shape=None, **fields) -> Case:
    """A case that is only about where the object is."""
    height, width = np.asarray(mask).shape if mask is not None else shape
    held = None if mask is None else np.asarray(mask, bool)
    none = Asked(lambda pictures: torch.zeros(len(pictures)))
    return Case(torch.zeros(1, 3, height, width), none, none, torch.ones(3, 1, 1), held, **fields)

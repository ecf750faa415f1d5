"""RISE: random masks on the picture, and the mean score of what shows each place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor
from torch.nn import functional

from cnnviz.core.target import TargetLike
from cnnviz.engine.batching import in_slices
from cnnviz.errors import ParameterError
from cnnviz.images.reading import ImagesLike
from cnnviz.method import method
from cnnviz.methods.ask import Answer, prepare
from cnnviz.methods.occlusion.baselines import Fill, fill_with
from cnnviz.methods.occlusion.scorer import Precision, Question, ScoreKind, scored_maps
from cnnviz.models.model import Model
from cnnviz.results.heatmap import Heatmaps

__all__ = ["rise", "RandomMasks", "WeighedMean"]


@dataclass(frozen=True)
class RandomMasks:
    """Coarse grids of visible and hidden cells, enlarged bilinearly and shifted by up to a cell.

    Attributes:
        size: Height and width in pixels.
        cells: Cells along each side.
        visible: Chance that a cell is visible.
        seed: Of all masks; the k-th mask depends on it and k alone.

    Raises:
        ParameterError: If there are more cells than pixels along a side.
    """

    size: tuple[int, int]
    cells: int
    visible: float
    seed: int

    def __post_init__(self) -> None:
        if self.cells > min(self.size):
            raise ParameterError(f"cells must be at most {min(self.size)}, the input's shorter side; got {self.cells}.")

    def masks(self, some: slice) -> Tensor:
        """Those masks, ``(n, 1, H, W)`` float32 from 0 (hidden) to 1 (visible)."""
        each = self.cells**2 + 2
        stream = np.random.PCG64(self.seed).advance(some.start * each)
        drawn = np.random.Generator(stream).random((some.stop - some.start, each))
        grids = torch.from_numpy(drawn[:, 2:] < self.visible).float().view(-1, 1, self.cells, self.cells)
        height, width = (-(-side // self.cells) for side in self.size)
        wide = functional.interpolate(
            grids, size=((self.cells + 1) * height, (self.cells + 1) * width), mode="bilinear", align_corners=False
        )
        shifts = (drawn[:, :2] * (height, width)).astype(int)
        return torch.stack(
            [
                one[:, top : top + self.size[0], left : left + self.size[1]]
                for one, (top, left) in zip(wide, shifts, strict=True)
            ]
        )


class WeighedMean:
    """At every place the mean of scores weighed by masks, added up mask by mask, with its standard error.

    Args:
        clean: ``(T,)``: the scores of the unchanged picture, near which sums are kept exact.
        size: Height and width of the masks.
    """

    def __init__(self, clean: Tensor, size: tuple[int, ...]) -> None:
        self._clean, self._size, self._count = clean, size, 0
        self._scores = torch.zeros(2, len(clean), dtype=torch.float64)
        self._weights = torch.zeros(2, *size, dtype=torch.float64)
        self._products = torch.zeros(4, len(clean), *size, dtype=torch.float64)

    def add(self, scores: Tensor, masks: Tensor) -> None:
        """Scores ``(n, T)`` of masks ``(n, H, W)``."""
        above, weights = scores - self._clean, masks.flatten(1).double()
        self._count += len(scores)
        self._scores += torch.stack([above.sum(dim=0), (above**2).sum(dim=0)])
        self._weights += torch.stack([weights.sum(dim=0), (weights**2).sum(dim=0)]).view_as(self._weights)
        sums = [above.T @ weights, (above**2).T @ weights, above.T @ weights**2, (above**2).T @ weights**2]
        self._products += torch.stack(sums).view_as(self._products)

    def above_all(self) -> tuple[Tensor, Tensor]:
        """Weighed means less the mean of all scores, and their standard errors, both ``(T, H, W)``.

        Each mask adds ``M (f - S) / sum of M - (f - mean) / N`` to the difference's error, to first order.
        """
        tiny = torch.finfo(torch.float64).tiny
        weight, squared = self._weights[0].clamp_min(tiny), self._weights[1]
        mf, mff, mmf, mmff = self._products
        mean = (self._scores[0] / self._count)[:, None, None]
        here = mf / weight
        own = (mmff - 2 * here * mmf + here**2 * squared) / weight**2
        both = (mff - (here + mean) * mf + here * mean * self._weights[0]) / (weight * self._count)
        every = self._scores[1][:, None, None] / self._count**2 - mean**2 / self._count
        return here - mean, (own - 2 * both + every).clamp_min(0).sqrt()


@method
def rise(
    model: Model,
    images: ImagesLike,
    target: TargetLike = None,
    *,
    masks: Annotated[int, Ge(2)] = 1000,
    cells: Annotated[int, Ge(1)] = 7,
    visible: Annotated[float, Gt(0), Lt(1)] = 0.5,
    baseline: Literal["mean", "black", "blur", "noise"] = "mean",
    score: ScoreKind = "probability",
    precision: Precision = "full",
    seed: Annotated[int, Ge(0)] = 0,
    batch_size: Annotated[int, Ge(1)] | None = None,
) -> Heatmaps:
    """How much higher the target's score is where random masks leave the picture visible (RISE).

    A mask is a coarse grid of visible and hidden cells, enlarged bilinearly and shifted at random; with ``f_k`` the
    score of the picture through mask ``M_k``, each place gets the mean score of what shows it, less that of all::

        map = sum over k of M_k f_k / sum over k of M_k  -  mean over k of f_k

    The paper divides by the expected sum of the masks, and leaves the mean in; the actual sum varies less, and without
    the mean a network that does not look has a map of zeros. Masks are drawn from the seed when they are needed and
    kept nowhere. The standard error at every place is ``spread``, and its largest value is in the checks.

    Args:
        model: The network.
        images: Paths, PIL images, arrays, pictures, a float tensor ``(N, C, H, W)``, or a list of these.
        target: What is explained; None is each image's top class.
        masks: How many masks; the standard error falls with the square root.
        cells: Cells of a mask along each side.
        visible: Chance that a cell is visible.
        baseline: What is seen where the picture is hidden: mean (0 in normalised space), black, blur or noise.
        score: Of a class, or of a difference of two: the softmax probability, the logit, or the log-probability.
        precision: Compute in TF32 (CUDA only) or bfloat16 instead; the loss is stated.
        seed: Of the masks, and of the noise; every picture gets the same masks.
        batch_size: Most masked pictures at once; left out, what suits the device; halved when memory runs out.

    Returns:
        Maps ``(N, H, W)`` at the input's resolution, signed, in units of the score.

    Raises:
        UnknownNameError: If there is no such label.
        ParameterError: If there are more cells than pixels.

    Reference:
        Petsiuk et al., RISE: Randomized Input Sampling for Explanation of Black-box Models, BMVC 2018.
    """
    batch = prepare(model, images, target)
    height, width = batch.inputs.shape[-2:]
    drawn = RandomMasks((height, width), cells, visible, seed)

    def explain(asked: Question) -> list[Answer]:
        fill = fill_with(baseline, model, asked.image, side=height // cells, seed=seed)
        return _answer_targets(asked, _score_masks(asked, drawn, fill, masks), masks)

    return scored_maps(model, batch, explain, kind=score, precision=precision, batch_size=batch_size)


def _score_masks(asked: Question, drawn: RandomMasks, fill: Fill, count: int) -> WeighedMean:
    """The mean score of what shows each place, added up mask by mask."""
    image, targets = asked.image, asked.clean.targets
    mean = WeighedMean(asked.clean.scores, image.shape[-2:])

    def ask(some: slice) -> None:
        masks = drawn.masks(some)

        def seen(part: slice) -> Tensor:
            shown = masks[part].to(image)
            hidden = fill(1 - shown)
            return hidden + shown * (image - hidden)

        mean.add(asked.scorer.scores(len(masks), seen, targets), masks[:, 0])

    in_slices(count, ask, size=asked.scorer.size)
    return mean


def _answer_targets(asked: Question, mean: WeighedMean, count: int) -> list[Answer]:
    """Each target's map with its standard error."""
    values, errors = mean.above_all()
    return [
        asked.answer(at, one, spread=error, checks=(_state_error(asked, at, float(error.max()), count),))
        for at, (one, error) in enumerate(zip(values, errors, strict=True))
    ]


def _state_error(asked: Question, at: int, error: float, count: int) -> str:
    return (
        f"{asked.picture.name}: after {count} masks the standard error for '{asked.clean.targets[at]}' is "
        f"at most {error:.2g}"
    )

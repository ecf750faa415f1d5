"""RISE: the mean score of what random masks leave visible."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Ge, Gt, Lt

from cnnviz.lengths import Counts
from cnnviz.method import Seed, method
from cnnviz.methods.settings import Precision, ScoreKind

if TYPE_CHECKING:
    from torch import Tensor

    from cnnviz.core.target import TargetLike
    from cnnviz.images.reading import ImagesLike
    from cnnviz.methods.ask import Answer
    from cnnviz.methods.occlusion.baselines import Fill
    from cnnviz.methods.occlusion.random_masks import RandomMasks, WeighedMean
    from cnnviz.methods.occlusion.scorer import Question
    from cnnviz.models.model import Model
    from cnnviz.results.heatmap import Heatmaps

__all__ = ["rise"]


@method
def rise(
    model: Model,
    images: ImagesLike,
    target: TargetLike = None,
    *,
    masks: Annotated[int, Ge(2)] = 1000,
    cells: Counts = 7,
    visible: Annotated[float, Gt(0), Lt(1)] = 0.5,
    baseline: Literal["mean", "black", "blur", "noise"] = "mean",
    score: ScoreKind = "probability",
    precision: Precision = "full",
    seed: Seed = 0,
    batch_size: Annotated[int, Ge(1)] | None = None,
) -> Heatmaps:
    """How much the visibility of each pixel under random masks raises the target's score (RISE).

    A mask is a coarse grid of visible and hidden cells, enlarged linearly and shifted at random; with ``f_k`` the
    score of the picture through mask ``M_k``, each place gets the mean score of what shows it, less that of all::

        map = sum over k of M_k f_k / sum over k of M_k  -  mean over k of f_k

    The paper divides by the expected sum of the masks, and leaves the mean in; the actual sum varies less, and without
    the mean a network that does not look has a map of zeros. Masks are drawn from the seed when they are needed and
    kept nowhere. The standard error at every place is ``spread``, and its largest value is in the checks.

    Args:
        model: The network.
        images: Paths, PIL images, arrays, pictures, a float tensor ``(N, C, H, W)``, or a list of these.
        target: What is explained; None is each image's top class.
        masks: Number of masks; the standard error falls with its square root.
        cells: Cells of a mask along each side, or along each axis such as 4x7x7.
        visible: Probability that a cell is visible.
        baseline: What replaces hidden parts: mean (0 in normalised space), black, blur or noise.
        score: Of a class, or of a difference of two: the softmax probability, the logit, or the log-probability.
        precision: Compute in TF32 (CUDA only) or bfloat16 instead; the resulting error is reported.
        seed: Seed for the masks and the noise; every picture gets the same masks.
        batch_size: Batch size (masked pictures); default: chosen for the device; halved automatically if memory runs
            out.

    Returns:
        Maps ``(N, H, W)`` at the input's resolution, signed, in units of the score.

    Raises:
        UnknownNameError: If there is no such label.
        ParameterError: If there are more cells than pixels.

    Reference:
        Petsiuk et al., RISE: Randomized Input Sampling for Explanation of Black-box Models, BMVC 2018.
    """
    from cnnviz.core.dimensions import PICTURE, size_of
    from cnnviz.methods.occlusion.baselines import fill_with
    from cnnviz.methods.occlusion.random_masks import RandomMasks
    from cnnviz.methods.occlusion.scorer import scored_maps
    from cnnviz.methods.occlusion.sides import sides_of
    from cnnviz.methods.prepare import prepare

    batch = prepare(model, images, target)
    size = size_of(batch.inputs)
    drawn = RandomMasks(size, sides_of("cells", cells, size), visible, seed)
    sides = tuple(length // count for length, count in zip(size, drawn.counts, strict=True))
    side = sides[0] if model.places == PICTURE and drawn.cells == cells else sides  # a cell's height blurs both ways

    def explain(asked: Question) -> list[Answer]:
        fill = fill_with(baseline, model, asked.image, side=side, seed=seed)
        return _answer_targets(asked, _score_masks(asked, drawn, fill, masks))

    return scored_maps(model, batch, explain, kind=score, precision=precision, batch_size=batch_size)


def _score_masks(asked: Question, drawn: RandomMasks, fill: Fill, count: int) -> WeighedMean:
    """The mean score of what shows each place, added up mask by mask."""
    from cnnviz.engine.batching import in_slices
    from cnnviz.methods.occlusion.random_masks import WeighedMean

    image, targets = asked.image, asked.clean.targets
    mean = WeighedMean(asked.clean.scores, tuple(image.shape[1:]))

    def ask(some: slice) -> None:
        masks = drawn.masks(some)

        def seen(part: slice) -> Tensor:
            shown = masks[part].to(image)
            hidden = fill(1 - shown)
            return hidden + shown * (image - hidden)

        mean.add(asked.scorer.scores(len(masks), seen, targets), masks[:, 0])

    in_slices(count, ask, size=asked.scorer.size)
    return mean


def _answer_targets(asked: Question, mean: WeighedMean) -> list[Answer]:
    """Each target's map with its standard error."""
    values, errors = mean.above_all()
    return [
        asked.answer(at, one, spread=error, checks=(_state_error(one, error),))
        for at, (one, error) in enumerate(zip(values, errors, strict=True))
    ]


def _state_error(values: Tensor, error: Tensor) -> str:
    """The largest standard error on a map, as a share of its range."""
    from cnnviz.provenance import Margin

    largest, reach = float(error.max()), float(values.max() - values.min())
    if not reach > 0:
        return Margin("largest standard error: {}", largest)
    share = 100 * largest / reach
    return Margin("largest standard error: {} of the map's range", share, form="{:.1f}%")

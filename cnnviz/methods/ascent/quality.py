"""How good a synthesised picture is: measured, because a high score alone is what noise reaches too."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Any, Final, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cnnviz.core.dimensions import PICTURE, Size
from cnnviz.core.target import ClassTarget, Target
from cnnviz.engine.batch_norms import watch_norms
from cnnviz.engine.batching import in_chunks, usual_size
from cnnviz.engine.capture import capture
from cnnviz.engine.scores.score import class_probabilities, score, watched_layers
from cnnviz.engine.undisturbed import undisturbed
from cnnviz.methods.ascent.judge import Opinion
from cnnviz.methods.ascent.views import affine_maps, resample, sample_views
from cnnviz.models.load import load_model
from cnnviz.models.model import Model
from cnnviz.provenance import Provenance
from cnnviz.results.images import Images

__all__ = [
    "DRAWS",
    "ScoreFunction",
    "clean_input",
    "held_out_views",
    "judge_images",
    "high_frequency_share",
    "saturated_share",
    "spectrum_slope",
    "total_variation",
]

COARSEST: Final = 4
FINEST: Final = 2 / 7
FEWEST_RINGS: Final = 4
FINE: Final = 0.25
RAIL: Final = 0.02


def spectrum_slope(values: NDArray[Any]) -> float | None:
    """How steeply amplitudes fall with the frequency: the slope of a line through their logarithms.

    The picture's mean over channels is weighed by a Hann window; amplitudes are averaged over rings of 4 cycles along
    the shorter side up to 2/7 of a cycle a pixel.

    Args:
        values: ``(C, H, W)``.

    Returns:
        About -1 to -1.5 for photographs, 0 for noise; None where the picture is too small or a ring is empty.
    """
    power, frequency = _power_spectrum(values)
    side = min(values.shape[1:])
    ring = np.rint(frequency * side).astype(int)
    rings = np.arange(COARSEST, int(FINEST * side) + 1)
    if len(rings) < FEWEST_RINGS:
        return None
    amplitude = np.array([np.sqrt(power[ring == each]).mean() for each in rings])
    if not (amplitude > 0).all():
        return None
    return float(np.polyfit(np.log(rings), np.log(amplitude), 1)[0])


def high_frequency_share(values: NDArray[Any]) -> float:
    """Share (0..1) of the variance, under a Hann window, that is finer than a quarter of a cycle a pixel.

    Args:
        values: ``(C, H, W)``; its mean over channels counts.
    """
    power, frequency = _power_spectrum(values)
    return float(power[frequency > FINE].sum() / max(power.sum(), np.finfo(float).tiny))


def total_variation(values: NDArray[Any]) -> float:
    """Mean step from a pixel to its right neighbour plus mean step to the one below, over all channels.

    Args:
        values: ``(C, H, W)``.
    """
    steps = (np.abs(np.diff(np.asarray(values, dtype=np.float64), axis=axis)) for axis in (1, 2))
    return float(sum(each.mean() for each in steps if each.size))


def saturated_share(values: NDArray[Any]) -> float:
    """Share (0..1) of pixels of which some channel is nearer than 0.02 to 0 or 1.

    Args:
        values: ``(C, H, W)`` in [0, 1].
    """
    return float(((values < RAIL) | (values > 1 - RAIL)).any(axis=0).mean())


def _power_spectrum(values: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Power and frequency (cycles a pixel) of every wave of the windowed picture but its mean."""
    grey = np.asarray(values, dtype=np.float64).mean(axis=0)
    window = np.hanning(grey.shape[0] + 2)[1:-1, None] * np.hanning(grey.shape[1] + 2)[None, 1:-1]
    level = (grey * window).sum() / window.sum()
    power = np.abs(np.fft.fft2((grey - level) * window)) ** 2
    down, across = (np.fft.fftfreq(side) for side in grey.shape)
    return power, np.hypot(down[:, None], across[None])


DRAWS: Final = 32
SMALLEST_CROP: Final = 0.6
LARGEST_TURN: Final = 10.0
DIGITS: Final = 6


class ScoreFunction(Protocol):
    """Scores network inputs as the picture of a number has them."""

    def __call__(self, inputs: Tensor, row: int) -> Tensor:
        """Scores ``(n,)`` of inputs ``(n, C, h, w)``."""
        ...


def judge_images(
    model: Model, images: Images, judge: Model | str | None = None, *, score: ScoreFunction | None = None, seed: int = 0
) -> Images:
    """Measure how good pictures are.

    A record holds, each rounded to six digits, where it can be measured:

    - ``score``: of the clean picture, scaled as a whole to the network's input; ``probability`` of a class;
    - ``held_out_mean``, ``held_out_deviation``, ``held_out_draws``: the score under 32 random rotations (up to 10
      degrees) and crops (60 to 100 % of the side), the same for all pictures and drawn apart from any optimisation. A
      picture that convinces only where each pixel lies as it does falls far below its clean score;
    - of pictures ``slope`` of the amplitude spectrum, ``high_frequency_share``, ``total_variation``,
      ``saturated_share``: as in :mod:`cnnviz.methods.ascent.quality`;
    - ``norm_distance``: how far the activations lie from the network's own batch-norm statistics, in standard
      deviations (:class:`~cnnviz.engine.batch_norms.NormDistance`);
    - ``judge``, ``judge_probability``, ``judge_rank`` (from 1), ``judge_first`` (the class it puts first): a second
      network's answer to the clean picture; labels are matched by name.

    For comparison, eight photographs at 224 pixels had a slope of -1.24 (standard deviation .21, from -1.64 to -1.03),
    a high-frequency share of .062 (.013 to .142), a total variation of .078 (.045 to .119) and .12 saturated pixels
    (half of them under .03, one .61); mobilenet_v2's score of its own first class was under the held-out views .97 of
    that of the clean photograph (.76 to 1.10). Uniform noise has a slope of 0 and a high-frequency share of .83. Twelve
    drawn scenes were .45 (.31 to .60) from the norms of shapes-resnet, noise .61.

    Args:
        model: The network that the pictures were made for.
        images: The pictures, of any size.
        judge: A second network, or its name.
        score: Scores network inputs for a picture, without gradients and while the network is undisturbed; default: the
            pictures' own targets are scored.
        seed: Of the held-out draws.

    Returns:
        The same pictures with their records, and a check for every target that the judge does not know.

    Raises:
        UnknownNameError: If no network is called as the judge.
        ParameterError: If the judge takes other channels than the pictures have.
    """
    opinion = None if judge is None else Opinion(_open_judge(judge), model.labels)
    ask = score or _score_by_target(model, images.targets)
    views = partial(held_out_views, size=model.preprocess.input_size, seed=seed)
    parts = []
    for row, one in enumerate(images):
        canvas = torch.from_numpy(one.pixels)
        record = {
            **_measure_answers(model, canvas, one.target, partial(ask, row=row), views),
            **(_measure_statistics(one.pixels) if model.places == PICTURE else {}),
        }
        if opinion is not None:
            record |= opinion.of(clean_input(opinion.judge, opinion.channels(canvas)), one.target)
        parts.append(replace(one, quality=_round_record(record)))
    notes = () if opinion is None else tuple(opinion.notes)
    judged = replace(images, parts=tuple(parts), checks=tuple(dict.fromkeys((*images.checks, *notes))))
    return judged if opinion is None else _name_judge(judged, opinion.judge.name)


def clean_input(model: Model, canvas: Tensor) -> Tensor:
    """A picture as a network's input: scaled as a whole, without aliasing, and normalised.

    Args:
        model: The network.
        canvas: ``(C, H, W)`` in [0, 1]; or a signal, a volume.

    Returns:
        ``(1, C, h, w)``.
    """
    return _normalise_pixels(model, resample(canvas[None], model.preprocess.input_size))


def held_out_views(canvas: Tensor, size: Size, *, draws: int = DRAWS, seed: int = 0) -> Tensor:
    """A picture turned by up to 10 degrees and cropped to 60 to 100 % of its side, somewhere within it.

    Volumes are turned about their first axis, signals only cropped.

    Args:
        canvas: ``(C, H, W)``; or ``(C, T)``, ``(C, D, H, W)``.
        size: Height and width of a view; its length along each axis.
        draws: How many.
        seed: The same seed draws the same views, whatever else is drawn.

    Returns:
        ``(draws, C, height, width)``; where a turned corner lies outside, the picture is reflected.
    """
    digest = hashlib.sha256(f"held-out views {seed}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:7]))
    share, turn, down, across = torch.rand(4, draws, generator=generator, dtype=torch.float64)
    inwards = torch.rand(max(0, len(size) - 2), draws, generator=generator, dtype=torch.float64)
    side = SMALLEST_CROP + (1 - SMALLEST_CROP) * share
    angle = math.radians(LARGEST_TURN) * (2 * turn - 1)
    room, one = 1 - side, (1.0,) * len(size)
    centre = [room * (2 * each - 1) for each in (across, down, *inwards)[: len(size)]]
    where = affine_maps([side] * len(size), angle, centre, one)
    return sample_views(canvas.expand(draws, *canvas.shape), where.to(canvas.dtype), size)


def _measure_answers(
    model: Model,
    canvas: Tensor,
    target: Target,
    ask: Callable[[Tensor], Tensor],
    views: Callable[[Tensor], Tensor],
) -> dict[str, Any]:
    """What the network says to the clean picture and to the held-out views of it."""
    clean = clean_input(model, canvas)
    with undisturbed(model.module), torch.no_grad():
        held_out = _ask_in_chunks(model, _normalise_pixels(model, views(canvas)), ask)
        score = _ask_in_chunks(model, clean, ask)
        with watch_norms(model.module, model.places) as distance:
            logits = _ask_in_chunks(model, clean, model.answering([target]))
    own = target.index if isinstance(target, ClassTarget) and model.head.probable else None
    return {
        "score": float(score[0]),
        "probability": None if own is None else float(class_probabilities(logits, model.head)[0, own]),
        "held_out_mean": float(held_out.mean()),
        "held_out_deviation": float(held_out.std()),
        "held_out_draws": len(held_out),
        "norm_distance": None if distance.values is None else float(distance.values[0]),
    }


def _measure_statistics(pixels: NDArray[np.float32]) -> dict[str, Any]:
    return {
        "slope": spectrum_slope(pixels),
        "high_frequency_share": high_frequency_share(pixels),
        "total_variation": total_variation(pixels),
        "saturated_share": saturated_share(pixels),
    }


def _score_by_target(model: Model, targets: tuple[Target, ...]) -> ScoreFunction:
    def ask(inputs: Tensor, row: int) -> Tensor:
        target = targets[row]
        watch = watched_layers([target])
        with capture(model.module, [], watch) if watch else nullcontext() as caught:
            logits = model.answer(inputs, [target])
        return score([target] * len(inputs), logits, caught)

    return ask


def _ask_in_chunks(model: Model, inputs: Tensor, ask: Callable[[Tensor], Tensor]) -> Tensor:
    def ask_rows(some: Tensor, rows: slice) -> Tensor:
        return ask(some)[: rows.stop - rows.start].double().cpu()

    size = usual_size(model.device)
    chunks = in_chunks(inputs, ask_rows, size=size, device=model.device, dtype=model.dtype, fixed=model.fixed_batch)
    return torch.cat(chunks.results)


def _name_judge(images: Images, name: str) -> Images:
    def with_judge(made: Provenance) -> Provenance:
        return replace(made, asked={**made.asked, "judge": name})

    parts = tuple(replace(one, provenance=with_judge(one.provenance)) for one in images.parts)
    return replace(images, parts=parts, provenance=with_judge(images.provenance))


def _open_judge(judge: Model | str) -> Model:
    return judge if isinstance(judge, Model) else load_model(judge)


def _normalise_pixels(model: Model, pixels: Tensor) -> Tensor:
    mean, std = model.preprocess.columns(pixels.dtype)
    return (pixels - mean) / std


def _round_record(record: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers with six digits; what could not be measured, and what is not finite, is left out."""
    short = {
        name: float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value for name, value in record.items()
    }
    return {
        name: value
        for name, value in short.items()
        if value is not None and not (isinstance(value, float) and not math.isfinite(value))
    }

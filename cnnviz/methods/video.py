"""A method asked about every frame of a clip: one target and one scale of colours for all of it."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Final

import torch

from cnnviz.catalogue import load
from cnnviz.core.parse_target import parse_target
from cnnviz.core.picture import Picture
from cnnviz.core.similar import SimilarPair
from cnnviz.core.target import ClassTarget, Finer, RegionTarget, Target, TargetLike, TopClass, named_class
from cnnviz.engine.batching import part_of_progress
from cnnviz.engine.scores.dense import widest_class
from cnnviz.engine.scores.score import class_probabilities
from cnnviz.errors import NowhereError, TargetError, UsageError
from cnnviz.images.video import Clip, open_clip
from cnnviz.method import Method, check_network, interruptible
from cnnviz.methods.predict import predict
from cnnviz.models.model import Model
from cnnviz.provenance import Provenance
from cnnviz.results.attribution import Attributions
from cnnviz.results.detections import Detections
from cnnviz.results.film import Film, FilmRoll, ensure_film
from cnnviz.results.heatmap import Look
from cnnviz.results.predictions import Predictions, Segmentations

__all__ = ["usual_look", "video"]

AT_ONCE: Final = 8
"""Frames that are held in memory."""


@interruptible
def video(
    model: Model,
    clip: str | os.PathLike[str],
    method: str | Method[Any, Any],
    target: TargetLike = None,
    out: str | os.PathLike[str] | None = None,
    *,
    look: Look | None = None,
    at_once: int = AT_ONCE,
    **settings: Any,
) -> Film:
    """Explain every frame of a clip and write the maps as a clip: one target, and one scale of colours, for all of it.

    The clip is read twice, some frames at a time, and the maps are kept in a temporary file in between, so memory does
    not grow with its length. The scale is the widest of the frames' own, so that a frame without evidence stays dark.

    Args:
        model: The network.
        clip: A video that OpenCV can decode, or an animated GIF, WebP or PNG.
        method: A method that draws a map of every picture, or its name, such as ``"gradcam"``.
        target: What is explained; None is the class with the highest mean probability over the clip.
        out: A .mp4, .gif or .webp; an existing file is replaced. Default: ``NAME.METHOD.mp4`` in the current folder. An
            .mp4 needs PyAV (the extra ``video``).
        look: How maps are drawn; default: over the frames, and attributions to pixels alone.
        at_once: Frames that are held in memory.
        **settings: The method's.

    Returns:
        What is known about the clip besides the maps, such as the target's score on every frame.

    Raises:
        PictureError: The clip cannot be read.
        UsageError: The method draws no map of every picture.
        TargetError: The target cannot be understood.
        OutputError: The result cannot be written, or would replace the clip.
        MissingExtraError: PyAV is needed and not installed.
    """
    check_network(model)
    asked = _check_draws_maps(load(method) if isinstance(method, str) else method)
    opened = open_clip(clip)
    where = Path(out) if out is not None else Path(f"{opened.path.stem}.{asked.name}.mp4")
    ensure_film(where, opened.path)
    drawn = look or usual_look(asked)
    untargeted = "target" not in asked.needs
    passes = _Passes(opened, at_once, 1 if untargeted or _names_a_class(model, target) else 2)
    goal = () if untargeted else (_settle_on_clip(model, passes, target),)
    with FilmRoll(drawn) as roll:
        for pictures in passes.batches():
            _explain_frames(roll, lambda some: asked(model, some, *goal, **settings), pictures)
        if roll.scores and not roll.started:
            raise TargetError(f"{roll.wanting} any frame of '{opened.name}'.{roll.hint}")
        record = _make_record(roll.first.provenance, opened).drawn(format=where.suffix.lower()[1:], **drawn.describe())
        roll.write(where, opened, fps=opened.fps, record=record)
        return roll.film(where, opened.fps, passes.checks(len(roll.scores)), record)


def _explain_frames(roll: FilmRoll, ask: Callable[[list[Picture]], Any], pictures: list[Picture]) -> None:
    """Gather the maps of some frames; those that do not have what is explained are blank."""
    try:
        roll.gather(ask(pictures))
    except NowhereError as error:
        roll.wanting, roll.hint = error.what, error.hint
        there = [picture for row, picture in enumerate(pictures) if row not in error.rows]
        maps = ask(there) if there else None
        numbers = iter(range(len(there)))
        for row in range(len(pictures)):
            if row in error.rows or maps is None:
                roll.skip()
            else:
                number = next(numbers)
                roll.gather(maps[number : number + 1])


def usual_look(method: Method[Any, Any]) -> Look:
    """How a clip's maps are drawn where nothing is said: over the frames; attributions to pixels alone."""
    return Look(style="map" if method.usual == Attributions.__name__ else "overlay")


class _Passes:
    """Reads a clip several times, some frames at a time; each time is a part of the progress.

    Args:
        clip: The clip.
        at_once: Frames at a time.
        times: How often it is going to be read.
    """

    def __init__(self, clip: Clip, at_once: int, times: int) -> None:
        self._clip, self._at_once, self._total = clip, at_once, times * clip.count
        self._done = 0

    def batches(self) -> Iterator[list[Picture]]:
        """The frames' pictures, in order."""
        start, frames = self._done, iter(self._clip)
        while pictures := [frame.picture for frame in islice(frames, self._at_once)]:
            some = slice(*(min(each, self._total) for each in (self._done, self._done + len(pictures))))
            with part_of_progress(some, self._total):
                yield pictures
            self._done = some.stop
        self._done = min(start + self._clip.count, self._total)

    def checks(self, read: int) -> tuple[str, ...]:
        """What there is to say about the reading, once so many frames were read."""
        count = self._clip.count
        return (f"{self._clip.name} says it has {count} frames; {read} could be read",) if read < count - 1 else ()


def _check_draws_maps(method: Method[Any, Any]) -> Method[Any, Any]:
    if not method.singly:
        raise UsageError(f"{method.name} draws no map of every frame; expected a method such as gradcam or saliency.")
    return method


def _names_a_class(model: Model, target: TargetLike) -> bool:
    parsed = parse_target(target, model.labels, model.layer_names)
    return not isinstance(parsed.first if isinstance(parsed, Finer) else parsed, TopClass)


def _settle_on_clip(model: Model, passes: _Passes, like: TargetLike) -> Target:
    """The target with the class of the highest mean probability, where the top class is meant."""
    target = parse_target(like, model.labels, model.layer_names)
    if isinstance(target, SimilarPair):
        raise TargetError(f"'{target}' explains two pictures, and no clip; name a picture, as in 'similar:FILE'.")
    if isinstance(target, RegionTarget) and isinstance(target.side, TopClass):
        raise TargetError(f"'{target}' may be another class in every frame; name the class, as in 'LABEL@X,Y'.")
    if _names_a_class(model, target):
        return target
    found = _first_class(model, [predict(model, pictures, k=1, threshold=0.0) for pictures in passes.batches()])
    return replace(target, first=found) if isinstance(target, Finer) else found


def _first_class(model: Model, found: Sequence[Predictions | Segmentations | Detections]) -> ClassTarget:
    """The class of the highest probability over all, or of dense answers of most area besides the background."""
    logits = [torch.from_numpy(one.logits).double() for one in found if isinstance(one, Predictions)]
    if logits:
        best = int(class_probabilities(torch.cat(logits), model.head).sum(dim=0).argmax())
        return named_class(best, model.labels)
    if any(isinstance(one, Detections) for one in found):
        return _surest_class([one for one in found if isinstance(one, Detections)])
    areas = sum(torch.from_numpy(one.won).sum(dim=(0, 2, 3)) for one in found if isinstance(one, Segmentations))
    assert isinstance(areas, torch.Tensor)
    return widest_class(areas, model.labels)


def _surest_class(found: Sequence[Detections]) -> ClassTarget:
    """The class of which the surest boxes of all frames are surest together."""
    best: Counter[ClassTarget] = Counter()
    for some in (frame for each in found for frame in each):
        surest = {one.side: one.score for one in reversed(some)}
        for side, score in surest.items():
            best[side] += score  # type: ignore[assignment]
    if not best:
        raise TargetError("The network finds nothing in any frame of this clip; name a class.")
    return best.most_common(1)[0][0]


def _make_record(first: Provenance, clip: Clip) -> Provenance:
    """How the maps were made: the clip in the place of its first frames."""
    with clip.path.open("rb") as file:
        named = {"name": clip.name, "sha256": hashlib.file_digest(file, "sha256").hexdigest(), "kind": "clip"}
    return replace(first, images=(named,), targets=first.targets[:1], batch=(), rows=())

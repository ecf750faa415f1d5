"""Everything about one network and a few pictures, as one page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import Ge

from cnnviz.catalogue import load
from cnnviz.core.sample import Sample
from cnnviz.method import Seed, method
from cnnviz.provenance import asking

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from cnnviz.core.target import Target, TargetLike
    from cnnviz.images.reading import ImagesLike
    from cnnviz.methods.prepare import InputBatch
    from cnnviz.models.model import Model
    from cnnviz.reporting.page import Report
    from cnnviz.results.detections import Detections
    from cnnviz.results.predictions import Predictions, Segmentations

__all__ = ["report"]

USUAL = "gradcam,occlusion,smoothgrad,guided-backprop"


@method
def report(
    model: Model,
    images: ImagesLike,
    target: TargetLike = None,
    examples: Any = None,
    *,
    sections: str | None = None,
    methods: str = USUAL,
    layer: str | None = None,
    classes: Annotated[int, Ge(1)] = 5,
    units: Annotated[int, Ge(1)] = 6,
    budget: Annotated[int, Ge(0)] | None = None,
    seed: Seed = 0,
    batch_size: Annotated[int, Ge(1)] = 32,
) -> Report:
    """One page about a network and a few pictures: predictions, maps, units, layers.

    A chapter that has nothing to show (no data set to search, a layer without spatial extent) is left out; the last
    chapter says why. Pictures of which the class that is asked about wins no pixel are left out, which the page says.

    Args:
        model: The network.
        images: Paths, PIL images, arrays, pictures, a float tensor ``(N, C, H, W)``, or a list of these.
        target: What is explained; None is each image's top class.
        examples: A data set to look for patches in, and to audit where it has true classes: a folder, a list,
            ``"shapes:500"`` or whatever else ``patches`` takes; or None.
        sections: Chapters in the wanted order, separated by commas: maps, predictions, units, patches, audit,
            pictures, features, filters, layers, overview; default: all of them.
        methods: Methods that draw maps, separated by commas.
        layer: The layer for maps and units; default: the last convolutional (spatial) layer that the target depends on.
        classes: Number of classes listed per picture.
        units: Number of units shown per picture.
        budget: Most forwards for the slow parts (perturbation maps, feature visualization, patches), shared evenly;
            what is skipped or reduced is reported. Default: no limit.
        seed: Seed for everything drawn at random.
        batch_size: Batch size (images); halved automatically if memory runs out.

    Returns:
        The page; ``save("report.html")`` writes it.

    Raises:
        UnknownNameError: If there is no such section, method, layer or label.
        PictureError: If a picture cannot be read.
    """
    from cnnviz.engine.batching import part_of_progress
    from cnnviz.engine.scores.score import wants_logits
    from cnnviz.errors import ExplanationError, NowhereError
    from cnnviz.images.inputs import gather
    from cnnviz.methods.prepare import prepare
    from cnnviz.reporting.chapter import ReportContext
    from cnnviz.reporting.chapters import choose_sections, record_examples, write_report

    asked_for = choose_sections(sections)
    names = tuple(dict.fromkeys(name.strip() for name in methods.split(",") if name.strip()))
    for name in names:
        load(name)
    if layer is not None:
        model.check_layer(layer)

    def write(given: list[Sample | Tensor], target: TargetLike) -> Report:
        with asking({"target": target, "examples": record_examples(examples)}):
            with part_of_progress(slice(0, 1), len(asked_for) + 1):
                predictions, unread = _read_answers(model, given, classes, batch_size)
            batch = prepare(model, given, target)
            if predictions is not None:
                targets = _settle_targets(model, batch, predictions, batch_size)
            elif not wants_logits(batch.targets):
                targets = tuple(batch.targets)
            elif target is None:
                targets = ()
            else:
                raise ExplanationError(unread)
            context = ReportContext(
                model, given, batch.pictures, predictions, targets, names, layer, units, examples, seed, batch_size,
                unread=unread,
            )  # fmt: skip
            return write_report(context, batch, asked_for, budget)

    given = gather(images, model.preprocess.entrance._replace(value_range=None))
    try:
        return write(given, target)
    except NowhereError as error:
        if len(error.rows) == len(given):
            raise
        return write(_without(given, error.rows), _without(target, error.rows)).without((str(error),))


def _settle_on_areas(batch: InputBatch, found: Segmentations) -> tuple[Target, ...]:
    """The targets with their classes and pixels, as the areas that classes win say."""
    import torch

    from cnnviz.engine.scores.dense import nowhere_in, settle_won
    from cnnviz.errors import NowhereError

    settled: list[Target] = []
    errors: dict[int, NowhereError] = {}
    for row, target in enumerate(batch.targets):
        try:
            settled.append(settle_won(target, torch.from_numpy(found.won[row]), found.labels))
        except NowhereError as error:
            errors[row] = error
    if errors:
        one = next(iter(errors.values())) if len(batch.targets) == 1 else None
        raise one or nowhere_in(errors, [picture.name for picture in batch.pictures])
    return tuple(settled)


def _without(items: Any, rows: Sequence[int]) -> Any:
    """All items but some, of what has one for each picture; anything else as it is."""
    if isinstance(items, (list, tuple)) or getattr(items, "ndim", 0) == 1:
        return [each for row, each in enumerate(items) if row not in rows]
    return items


def _read_answers(
    model: Model, images: ImagesLike, classes: int, batch_size: int
) -> tuple[Predictions | Segmentations | Detections | None, str]:
    """What the network answers; or None and why it cannot be read, where the network itself runs."""
    from cnnviz.errors import ExplanationError
    from cnnviz.methods.predict import predict

    try:
        return predict(model, images, k=classes, batch_size=batch_size), ""
    except ExplanationError as error:
        return None, str(error)


def _settle_targets(
    model: Model, batch: InputBatch, predictions: Predictions | Segmentations | Detections, batch_size: int
) -> tuple[Target, ...]:
    """What is explained of each picture; where no class is likelier than not anywhere, the network is asked again."""
    import torch

    from cnnviz.core.target import RegionTarget
    from cnnviz.engine.scores.dense import is_top
    from cnnviz.engine.scores.score import settle
    from cnnviz.methods.ask import ask
    from cnnviz.results.predictions import Predictions, Segmentations

    if isinstance(predictions, Predictions) and all(one.place is None for best in predictions for one in best):
        return tuple(settle(batch.targets, torch.from_numpy(predictions.logits), model.labels, model.head))
    peaks = any(isinstance(target, RegionTarget) and target.peak for target in batch.targets)
    won = predictions if isinstance(predictions, Segmentations) and not peaks else ()
    if won and all(areas or not is_top(target) for areas, target in zip(won, batch.targets, strict=True)):
        return _settle_on_areas(batch, won)

    def answer(inputs: Tensor, targets: Sequence[Target]) -> list[Target]:
        with torch.no_grad():
            return settle(targets, model.forward(inputs)[: len(targets)], model.labels, model.head)

    return tuple(target for some in ask(model, batch, answer, batch_size=batch_size).results for target in some)

"""Everything about one network and a few pictures, as one page."""

from __future__ import annotations

import time
from typing import Annotated, Any

import torch
from annotated_types import Ge

from cnnviz.catalogue import load
from cnnviz.core.target import TargetLike
from cnnviz.drawing.blocks import Chapter, Fold
from cnnviz.engine.batching import part_of_progress
from cnnviz.engine.scores import settle
from cnnviz.errors import CnnvizError
from cnnviz.images.datasets.dataset import StoredDataset
from cnnviz.images.datasets.folders import FileDataset
from cnnviz.images.datasets.open import open_dataset
from cnnviz.images.datasets.tars import TarDataset
from cnnviz.images.inputs import gather
from cnnviz.images.reading import ImagesLike
from cnnviz.method import method
from cnnviz.methods.ask import InputBatch, prepare, provenance_of
from cnnviz.methods.predict import predict
from cnnviz.models.model import Model
from cnnviz.models.origin import one_line
from cnnviz.provenance import asking
from cnnviz.reporting.chapter import ChapterContent, ForwardBudget, ReportContext, Section
from cnnviz.reporting.chapters import choose_sections
from cnnviz.reporting.elements import missing_note, recipe_facts
from cnnviz.reporting.page import Report, Savable

__all__ = ["report"]

NAMED = 6
"""Most pictures that are named in the first line."""

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
    seed: Annotated[int, Ge(0)] = 0,
    batch_size: Annotated[int, Ge(1)] = 32,
) -> Report:
    """Everything about one network and a few pictures on one page: answers, maps, units, layers.

    A chapter that cannot be told (a method that does not suit the network, a layer without places) becomes a sentence
    that says why.

    Args:
        model: The network.
        images: Paths, PIL images, arrays, pictures, a float tensor ``(N, C, H, W)``, or a list of these.
        target: What is explained; None is each image's top class.
        examples: A data set to look for patches in: a folder, a list, ``"shapes:500"`` or whatever else ``patches``
            takes; or None.
        sections: Chapters with commas between, in the order wanted: overview, predictions, maps, units, patches,
            pictures, features, filters, layers; left out, all of them.
        methods: Names of methods that draw maps, with commas between.
        layer: The layer for maps and units; left out, the last whose places reach the target.
        classes: How many classes of each picture are listed.
        units: How many units of each picture are shown.
        budget: Most forwards of the network for all that is slow (maps that hide or sample, pictures that are made,
            patches), shared out evenly; what it leaves out is said. Left out, all is done in full.
        seed: Of whatever is drawn at random.
        batch_size: Most images at once; halved when memory runs out.

    Returns:
        The page; ``save("report.html")`` writes it.

    Raises:
        UnknownNameError: If there is no such section, method, layer or label.
        PictureError: If a picture cannot be read.
    """
    asked_for = choose_sections(sections)
    names = tuple(dict.fromkeys(name.strip() for name in methods.split(",") if name.strip()))
    for name in names:
        load(name)
    if layer is not None:
        model.check_layer(layer)
    given = gather(images)
    with asking({"target": target, "examples": _record_examples(examples)}):
        with part_of_progress(slice(0, 1), len(asked_for) + 1):
            predictions = predict(model, given, k=classes, batch_size=batch_size)
        batch, logits = prepare(model, given, target), torch.from_numpy(predictions.logits)
        targets = tuple(settle(batch.targets, logits, model.labels))
        context = ReportContext(
            model, given, predictions.pictures, predictions, targets, names, layer, units, examples, seed, batch_size
        )
        return _write_report(context, batch, asked_for, budget)


def _record_examples(examples: Any) -> Any:
    """A data set as a record may name it, without a folder: drawn shapes in full, files by their fingerprint.

    Anything else is the object it is.
    """
    if examples is None or _are_shapes(examples):
        return examples
    found = open_dataset(examples)
    return StoredDataset(found.name, found.fingerprint) if isinstance(found, (FileDataset, TarDataset)) else found


def _are_shapes(examples: Any) -> bool:
    return isinstance(examples, str) and examples.startswith("shapes:")


def _write_report(
    context: ReportContext, batch: InputBatch, sections: dict[str, Section], budget: int | None
) -> Report:
    context.budget = ForwardBudget(budget, sum(section.slow(context) for section in sections.values()))
    chapters, numbers, seconds = [], {}, {}
    checks: list[str] = []
    figures: dict[str, Savable] = {}
    for number, (key, section) in enumerate(sections.items(), 1):
        start = time.perf_counter()
        with part_of_progress(slice(number, number + 1), len(sections) + 1):
            content = _write_chapter(section, context)
        seconds[key] = time.perf_counter() - start
        made = (Fold("How it was made", blocks=(recipe_facts(content.made, content.checks),)),) if content.made else ()
        chapters.append(Chapter(key, section.title, section.question, (*content.blocks, *made), section.limits))
        figures |= {f"{key}{f'-{end}' if end else ''}": figure for end, figure in content.figures.items()}
        numbers[key] = content.numbers
        checks += [f"{key}: {check}" for check in content.checks]
    found = provenance_of(context.model, batch, targets=tuple(map(str, context.targets)), seed=context.seed)
    return Report(
        context.model.name, _lead_sentence(context), tuple(chapters), figures, numbers, tuple(dict.fromkeys(checks)),
        seconds=seconds, provenance=found,
    )  # fmt: skip


def _write_chapter(section: Section, context: ReportContext) -> ChapterContent:
    try:
        return section.write(context)
    except CnnvizError as error:
        reason = str(error)
    except torch.OutOfMemoryError:
        reason = "There is not enough memory for it."
    except RuntimeError as error:  # what a network's own code raises when it is run otherwise than it expects
        reason = f"The network could not be asked: {one_line(error)}."
    return ChapterContent((missing_note(reason),), checks=(reason,))


def _lead_sentence(context: ReportContext) -> str:
    names = [picture.name for picture in context.pictures]
    if len(names) == 1:
        return f"What it answers on {names[0]}, what in it speaks for the answer, and which of its units carry it."
    shown = f"{', '.join(names[:-1])} and {names[-1]}" if len(names) <= NAMED else f"{len(names)} pictures"
    return f"What it answers on {shown}, what in them speaks for the answers, and which of its units carry them."

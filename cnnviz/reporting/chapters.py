"""The chapters that a report can have, one entry each, and the report written from those that are asked for."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from cnnviz.core.capacity import ran_out_of_memory
from cnnviz.drawing.pages.blocks import Chapter, Fold
from cnnviz.engine.batching import part_of_progress
from cnnviz.errors import CnnvizError, UnknownNameError, UsageError
from cnnviz.images.datasets.dataset import StoredDataset
from cnnviz.images.datasets.folders import FileDataset
from cnnviz.images.datasets.open import open_dataset
from cnnviz.images.datasets.tars import TarDataset
from cnnviz.methods.prepare import InputBatch, provenance_of
from cnnviz.models.origin import one_line
from cnnviz.reporting.answers import count_slow_maps, write_maps, write_predictions, write_units
from cnnviz.reporting.chapter import ChapterContent, ForwardBudget, ReportContext, Section
from cnnviz.reporting.elements import missing_note, recipe_facts
from cnnviz.reporting.network import write_layers, write_overview
from cnnviz.reporting.page import Report, Savable
from cnnviz.reporting.responses import (
    count_slow_patches,
    count_slow_pictures,
    write_features,
    write_filters,
    write_patches,
    write_pictures,
)

__all__ = ["SECTIONS", "choose_sections", "record_examples", "write_report"]

NAMED = 6
"""Most pictures that are named in the first line."""

SECTIONS: Mapping[str, Section] = MappingProxyType(
    {
        "overview": Section(
            "The network",
            "What was asked, where its weights come from, and what it is given to see.",
            "A name says nothing about what a network was trained on. The fingerprint says which weights were asked, "
            "not whether they are good ones.",
            write_overview,
        ),
        "predictions": Section(
            "What it answers",
            "The most probable classes of each picture; the one that the rest of this page explains is set off. What "
            "the network did not see of a picture is faded.",
            "A probability is a class's share among those the network knows. It is not the chance of being right: a "
            "picture of something else gets a class too, often with a high probability.",
            write_predictions,
        ),
        "maps": Section(
            "Where it looks",
            "For each picture, the places that several methods hold responsible for the answer. Bright is strong; each "
            "map has a scale of its own, whose ends stand under it. Where there is red and blue, red speaks for the "
            "answer and blue against it.",
            "Each method answers a question of its own, so that they differ is no fault of one of them. A map shows "
            "where this answer on this picture hangs, not why, and not that other pictures are judged by the same. "
            "That a map lies on the object does not make the answer right.",
            write_maps,
            count_slow_maps,
        ),
        "units": Section(
            "Which units drive the answer",
            "The channels of one layer that add most to each answer, and where on the picture they respond.",
            "Units act together: what one adds depends on what the others do, and taking one away changes their part. "
            "A unit that responds to one thing here may respond to others elsewhere, so these maps give it no name.",
            write_units,
        ),
        "patches": Section(
            "What else excites these units",
            "Of a data set, the parts that excite each of those units most, with the unit's value.",
            "These are the few extremes of one data set. What a unit does with everything in between, and with "
            "pictures of another kind, they do not show; nor does what the extremes have in common say that the unit "
            "means just that.",
            write_patches,
            count_slow_patches,
        ),
        "pictures": Section(
            "What would excite it most",
            "Pictures made from noise, step by step, so that a class or a unit answers as strongly as it can.",
            "Such a picture shows what raises a score, not what the network needs to see, and not what it sees in "
            "photographs. It depends on how it was made; another start or recipe gives another one.",
            write_pictures,
            count_slow_pictures,
        ),
        "features": Section(
            "What the layers make of the pictures",
            "Maps of the strongest units at an early, a middle and a late layer, each on a scale of its own.",
            "The strongest units are not the most important ones: each unit's values are on a scale of its own, and "
            "what counts is what later layers make of them.",
            write_features,
        ),
        "filters": Section(
            "What the first kernels are",
            "The weights of the first layer, which meet the pixels themselves; those of largest norm first.",
            "Kernels are easy to see in the first layer only, and there they look much alike in most networks that "
            "were trained on photographs: edges, bars and colours. They say little about what the network knows.",
            write_filters,
        ),
        "layers": Section(
            "The layers",
            "What the network computes on the way, layer by layer, and how much of the picture each unit can see.",
            "What a unit can see is a bound. What counts for it is most often a much smaller part around the middle, "
            "and differs from picture to picture.",
            write_layers,
        ),
    }
)


def choose_sections(names: str | None) -> dict[str, Section]:
    """Chapters by their names with commas between, in that order; None is all.

    Raises:
        UnknownNameError: If there is no such chapter; the message offers the nearest.
        UsageError: If there is no name.
    """
    if names is None:
        return dict(SECTIONS)
    wanted = list(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))
    if not wanted:
        raise UsageError(f"sections names at least one of {', '.join(SECTIONS)}.")
    for name in wanted:
        if name not in SECTIONS:
            raise UnknownNameError("section", name, SECTIONS, f"There are {', '.join(SECTIONS)}.")
    return {name: SECTIONS[name] for name in wanted}


def record_examples(examples: Any) -> Any:
    """A data set as a record may name it, without a folder: drawn shapes in full, files by their fingerprint.

    Anything else is the object it is.
    """
    if examples is None or _are_shapes(examples):
        return examples
    found = open_dataset(examples)
    return StoredDataset(found.name, found.fingerprint) if isinstance(found, (FileDataset, TarDataset)) else found


def _are_shapes(examples: Any) -> bool:
    return isinstance(examples, str) and examples.startswith("shapes:")


def write_report(context: ReportContext, batch: InputBatch, sections: dict[str, Section], budget: int | None) -> Report:
    """Write the chapters one after the other, and the page of all of them.

    Args:
        context: What the chapters are written from.
        batch: The network's inputs.
        sections: The chapters, by name.
        budget: Forwards that the slow parts may spend together; None for any number.
    """
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
    except (RuntimeError, MemoryError) as error:  # what a network's own code raises when it is run unexpectedly
        reason = f"The network could not be asked: {one_line(error)}."
        if ran_out_of_memory(error):
            reason = "There is not enough memory for it."
    return ChapterContent((missing_note(reason),), checks=(reason,))


def _lead_sentence(context: ReportContext) -> str:
    names = [picture.name for picture in context.pictures]
    if not context.targets:
        return "Its layers and kernels, and what its units make of the pictures; its answers could not be read."
    if len(names) == 1:
        return f"What it answers on {names[0]}, what in it speaks for the answer, and which of its units carry it."
    shown = f"{', '.join(names[:-1])} and {names[-1]}" if len(names) <= NAMED else f"{len(names)} pictures"
    return f"What it answers on {shown}, what in them speaks for the answers, and which of its units carry them."

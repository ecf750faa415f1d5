"""The chapters that a report can have, one entry each, and the report written from those that are asked for."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from cnnviz.core.capacity import ran_out_of_memory
from cnnviz.drawing.pages.blocks import Chapter, Facts, Fold, Group
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
from cnnviz.reporting.mistakes import count_slow_audits, write_audit
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
        "maps": Section(
            "Attribution maps",
            "For each image the predicted class, and where several methods find evidence for it. Bright is strong; the "
            "numbers below each map are the ends of its own scale. Where there is red and blue, red is evidence for "
            "the class and blue against it. What the network did not see is faded.",
            "Each method answers a different question, so disagreement does not mean that one of them is wrong. A map "
            "shows what the answer for this image depends on, not why, and nothing about other images. A map that lies "
            "on the object does not make the answer right.",
            write_maps,
            count_slow_maps,
        ),
        "predictions": Section(
            "Predictions",
            "The most probable classes of each image; the class that this page explains is highlighted.",
            "A probability is a class's share among the classes that the network knows, not the chance of being right: "
            "an image of something else gets a class too, often with a high probability.",
            write_predictions,
        ),
        "units": Section(
            "Units that contribute most",
            "The channels of one layer that add most to each answer, and where in the image they respond.",
            "Units act together: what one adds depends on the others, and removing one changes their part. A unit that "
            "responds to one thing here may respond to other things elsewhere, so these maps do not name it.",
            write_units,
        ),
        "patches": Section(
            "Image patches that activate each unit most",
            "The parts of a data set with the highest activation of each of those units.",
            "These are the few highest activations in one data set. They do not show how a unit responds in between, "
            "nor to other kinds of images, and what they have in common need not be what the unit detects.",
            write_patches,
            count_slow_patches,
        ),
        "audit": Section(
            "A whole data set",
            "How often the network is right on a data set with true classes, which classes it confuses, and its most "
            "confident mistakes.",
            "An accuracy is one of pictures like these. A mistake may be one of the labels, and a map does not prove "
            "where it comes from.",
            write_audit,
            count_slow_audits,
        ),
        "pictures": Section(
            "Synthetic images that maximise activation",
            "Images optimised from noise so that a class or a unit has the highest activation (feature visualization).",
            "Such an image shows what raises a score, not what the network needs, nor what it finds in photographs. It "
            "depends on the optimisation; another start or other settings give another image.",
            write_pictures,
            count_slow_pictures,
        ),
        "features": Section(
            "Feature maps",
            "The most active units at an early, a middle and a late layer; each map has its own scale.",
            "The most active units are not the most important ones: units have different ranges, and what matters is "
            "what later layers make of them.",
            write_features,
        ),
        "filters": Section(
            "First-layer filters",
            "The weights of the first layer, which is applied to the pixels; the largest norm first.",
            "Filters can only be read in the first layer, where they look alike in most networks trained on "
            "photographs: edges, bars and colours. They say little about what the network has learned.",
            write_filters,
        ),
        "layers": Section(
            "Layers",
            "The layers in the order of the forward pass, and the receptive field of a unit in each.",
            "A receptive field is an upper bound. The part that matters is usually much smaller, around the centre, "
            "and differs between images.",
            write_layers,
        ),
        "overview": Section(
            "The network and how this page was made",
            "The network, its weights and its input.",
            "A name does not say what a network was trained on. The fingerprint identifies the weights, not their "
            "quality.",
            write_overview,
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
    chapters: list[Chapter] = []
    numbers, seconds = {}, {}
    checks: list[str] = []
    empty: list[tuple[str, str]] = []
    figures: dict[str, Savable] = {}
    for number, (key, section) in enumerate(sections.items(), 1):
        start = time.perf_counter()
        with part_of_progress(slice(number, number + 1), len(sections) + 1):
            content = _write_chapter(section, context)
        seconds[key] = time.perf_counter() - start
        numbers[key] = content.numbers
        checks += [f"{key}: {check}" for check in content.checks]
        if content.is_empty:
            empty += [(section.title, sentence) for sentence in content.sentences]
            continue
        made = (Fold("Settings and notes", blocks=(recipe_facts(content.made, content.checks),)),)
        shown = (*content.blocks, *(made if content.made else ()))
        chapters.append(Chapter(key, section.title, section.question, shown, section.limits))
        figures |= {f"{key}{f'-{end}' if end else ''}": figure for end, figure in content.figures.items()}
    chapters = _name_empty(chapters, empty)
    found = provenance_of(context.model, batch, targets=tuple(map(str, context.targets)), seed=context.seed)
    return Report(
        context.model.name, _lead_sentence(context), tuple(chapters), figures, numbers, tuple(dict.fromkeys(checks)),
        seconds=seconds, provenance=found,
    )  # fmt: skip


def _name_empty(chapters: list[Chapter], empty: list[tuple[str, str]]) -> list[Chapter]:
    """The chapters, of which the last says which others have nothing to show, and why."""
    if not empty:
        return chapters
    group = Group("Not in this report", (Facts(tuple(empty)),))
    if not chapters:
        return [Chapter("empty", "Nothing could be shown", "Why each part that was asked for is missing.", (group,))]
    last = chapters[-1]
    return [*chapters[:-1], replace(last, blocks=(*last.blocks, group))]


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
        return "Its layers, filters and feature maps; its predictions could not be read."
    shown = f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]
    shown = shown if len(names) <= NAMED else f"{len(names)} images"
    return f"Predictions for {shown}, the evidence for them, and the units that contribute most."

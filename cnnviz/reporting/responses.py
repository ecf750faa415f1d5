"""The chapters about what units respond to: kernels, maps, patches of a data set, pictures made for them."""

from __future__ import annotations

import math

from cnnviz.core.dimensions import VOLUME, Size
from cnnviz.core.layer import AUTOMATIC, Layer
from cnnviz.core.target import ClassTarget, RegionTarget, Target, Unit
from cnnviz.drawing.pages.blocks import Fold, Group
from cnnviz.engine.batching import usual_size
from cnnviz.images.datasets.open import open_dataset
from cnnviz.methods.ascent.maximize import maximize
from cnnviz.methods.ascent.quality import DRAWS
from cnnviz.methods.ascent.recipes import RECIPES
from cnnviz.methods.patches.patches import patches
from cnnviz.methods.units.features import features
from cnnviz.methods.units.filters import filters
from cnnviz.reporting.chapter import ChapterContent, ReportContext
from cnnviz.reporting.elements import feature_group, image_gallery, kernel_gallery, missing_note, patch_groups

__all__ = [
    "count_slow_patches",
    "count_slow_pictures",
    "write_features",
    "write_filters",
    "write_patches",
    "write_pictures",
]

STAGES, MAPS = 3, 8
OPEN = 2
"""Pictures whose maps are not folded away."""

KERNELS = 96
PATCHES, PATCHED = 8, 8
MADE_UNITS = 2
"""Units of each picture that a picture is made for."""

USUAL = RECIPES["crops"]
JUDGING = DRAWS + 6
"""Forwards that measure how good a picture is."""

FEWEST_STEPS = 8
PIXELS = 128**2
"""Values up to which a volume gets as many steps as an image."""


def write_filters(context: ReportContext) -> ChapterContent:
    """The kernels of the first layer that has any to see, the largest first."""
    found = filters(context.model, sort="norm", most=KERNELS)
    numbers = {"layer": found.layer, "dead": list(found.dead), "shape": list(found.values.shape)}
    return ChapterContent(kernel_gallery(found), (found.provenance,), {"": found}, numbers, found.checks)


def write_features(context: ReportContext) -> ChapterContent:
    """What the strongest units make of each picture, at an early, a middle and a late layer."""
    names = _choose_stages(context)
    if not names:
        return ChapterContent(
            (missing_note("No layer of this network has more than one place, so there are no maps to show."),)
        )
    found = {
        name: features(context.model, context.images, layer=name, most=MAPS, batch_size=context.batch_size)
        for name in names
    }
    groups = tuple(
        Group(picture.name, tuple(feature_group(one[row]) for one in found.values()))
        for row, picture in enumerate(context.pictures)
    )
    rest = len(groups) - OPEN
    words = f"Feature maps of {'another image' if rest == 1 else f'{rest} more images'}"
    blocks = (*groups[:OPEN], *((Fold(words, blocks=groups[OPEN:]),) if rest > 0 else ()))
    made = tuple(one.provenance for one in found.values())
    numbers = {name: one.units.tolist() for name, one in found.items()}
    checks = tuple(dict.fromkeys(check for one in found.values() for check in one.checks))
    return ChapterContent(blocks, made, {name.replace("/", "-"): one for name, one in found.items()}, numbers, checks)


def _choose_stages(context: ReportContext) -> list[str]:
    """Layers to look at: the last at the first, the middle and the last size of the grid; for that the one of maps."""
    last: dict[Size, Layer] = {}
    for layer in sorted(context.model.layers.values(), key=lambda layer: layer.order):
        if layer.spatial and layer.arrangement is not None:
            last[layer.arrangement.grid] = layer
    names = [layer.name for layer in last.values()]
    if not names:
        return []
    late = context.layer or (context.driving[0].layer if context.driving else names[-1])
    chosen = [names[0], names[len(names) // 2], late.partition(",")[0]]
    return list(dict.fromkeys(chosen))[-STAGES:]


def count_slow_patches(context: ReportContext) -> int:
    """One, where there is a data set to look through."""
    return 0 if context.examples is None else 1


def write_patches(context: ReportContext) -> ChapterContent:
    """What of a data set excites the driving units most."""
    if context.examples is None:
        return ChapterContent(
            (missing_note("Not asked for: --data (in Python examples) names a data set to search for patches."),)
        )
    data = open_dataset(context.examples)
    wanted = _count_forwards(context, len(data))
    granted = context.budget.grant(wanted)
    if granted < wanted:
        context.budget.give_back(granted)
        reason = f"Left out because of --budget: patches take {wanted} forwards, and the budget has {granted} for them."
        return ChapterContent((missing_note(reason),), checks=(reason,))
    layer, units = _rank_driving_units(context, most=PATCHED)
    chosen = ",".join(map(str, sorted(units))) or None
    found = patches(context.model, data, layer=layer or AUTOMATIC, units=chosen, show=PATCHES, seed=context.seed)
    return ChapterContent(patch_groups(found), (found.provenance,), {"": found}, found.describe(), found.checks)


def _count_forwards(context: ReportContext, count: int) -> int:
    """Of a first look, a pass over so many pictures, and running those again that are shown; all in whole blocks."""
    block = usual_size(context.model.device)
    return 2 + sum(math.ceil(each / block) * block for each in (1, count, min(count, PATCHED * PATCHES)))


def count_slow_pictures(_: ReportContext) -> int:
    """All pictures that are made are one part."""
    return 1


def write_pictures(context: ReportContext) -> ChapterContent:
    """Pictures that the network answers most to: of the explained classes, and of the units that drive them."""
    context.check_targets()
    explained = [one.classes[0] if isinstance(one, RegionTarget) else one for one in context.targets]
    classes: list[Target] = [one for one in dict.fromkeys(explained) if isinstance(one, ClassTarget)]
    layer, units = _rank_driving_units(context, most=MADE_UNITS * len(context.pictures), each=MADE_UNITS)
    wanted = [*classes, *(Unit(layer, unit) for unit in units)]
    if not wanted:
        return ChapterContent((missing_note("No class is explained, and no unit supports the target."),))
    steps, note = _choose_steps(context, len(wanted))
    if steps > (most := _most_steps(context)):
        steps, note = most, f"Each had {most} steps of the usual {USUAL.steps}, as volumes are slow: reduced quality."
    if steps == 0:
        return ChapterContent((missing_note(note),), checks=(note,))
    found = maximize(context.model, wanted, steps=steps, seed=context.seed)
    if found.interrupted:  # it keeps what there is, but a report is wanted whole
        raise KeyboardInterrupt
    some = ((0, len(classes), "For a class"), (len(classes), len(wanted), f"For a unit of {layer}"))
    blocks = [Group(words, (image_gallery(found[start:end]),)) for start, end, words in some if end > start]
    said = (note,) if note else ()
    first = tuple(missing_note(sentence) for sentence in said)
    return ChapterContent((*first, *blocks), (found.provenance,), {"": found}, found.describe(), (*said, *found.checks))


def _choose_steps(context: ReportContext, count: int) -> tuple[int, str]:
    """How many steps each picture gets, and what that means; 0 leaves all of them out."""
    usual = USUAL.steps * USUAL.crops + JUDGING
    granted = context.budget.grant(usual * count)
    each = granted // count
    if each >= usual:
        return USUAL.steps, ""
    steps = max(0, each - JUDGING) // USUAL.crops
    spent = (steps * USUAL.crops + JUDGING) * count if steps >= FEWEST_STEPS else 0
    context.budget.give_back(granted - spent)
    if not spent:
        return 0, f"Left out because of --budget: each takes {usual} forwards, and the budget has {each} for it."
    return steps, f"Each picture had {spent // count} forwards of the {usual} it would have taken: reduced quality."


def _most_steps(context: ReportContext) -> int:
    """How many steps an image gets at most: fewer where it is a volume of more values than an image has pixels."""
    size = context.model.preprocess.input_size
    if len(size) != VOLUME:
        return USUAL.steps
    return max(FEWEST_STEPS, min(USUAL.steps, USUAL.steps * PIXELS // math.prod(size)))


def _rank_driving_units(context: ReportContext, *, most: int, each: int | None = None) -> tuple[str, list[int]]:
    """Units that drive the answers, the strongest of each picture first."""
    if not context.driving:
        return "", []
    ranked = [
        unit.unit.channel for rank in range(context.units) for one in context.driving for unit in one[rank : rank + 1]
    ]
    ranked = ranked if each is None else [unit.unit.channel for one in context.driving for unit in one[:each]]
    return context.driving[0].layer, list(dict.fromkeys(ranked))[:most]

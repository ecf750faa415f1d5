"""The chapters about what units respond to: kernels, maps, patches of a data set, pictures made for them."""

from __future__ import annotations

import math

from cnnviz.core.layer import AUTOMATIC, Layer
from cnnviz.core.target import ClassTarget, Target, Unit
from cnnviz.engine.batching import usual_size
from cnnviz.images.datasets.open import open_dataset
from cnnviz.methods.ascent.maximize import maximize
from cnnviz.methods.ascent.quality import DRAWS
from cnnviz.methods.ascent.recipes import RECIPES
from cnnviz.methods.patches.patches import patches
from cnnviz.methods.units.features import features
from cnnviz.methods.units.filters import filters
from cnnviz.reporting.chapter import Asked, Told
from cnnviz.reporting.elements import Group, kernels, made_pictures, missing, unit_maps, unit_patches

__all__ = ["slow_patches", "slow_pictures", "tell_features", "tell_filters", "tell_patches", "tell_pictures"]

STAGES, MAPS = 3, 8
KERNELS = 96
PATCHES, PATCHED = 8, 8
MADE_UNITS = 2
"""Units of each picture that a picture is made for."""

USUAL = RECIPES["crops"]
JUDGING = DRAWS + 6
"""Forwards that measure how good a picture is."""

FEWEST_STEPS = 8


def tell_filters(asked: Asked) -> Told:
    """The kernels of the first layer that has any to see, the largest first."""
    found = filters(asked.model, sort="norm", most=KERNELS)
    numbers = {"layer": found.layer, "dead": list(found.dead), "shape": list(found.values.shape)}
    return Told(kernels(found), (found.provenance,), {"": found}, numbers, found.checks)


def tell_features(asked: Asked) -> Told:
    """What the strongest units make of each picture, at an early, a middle and a late layer."""
    names = _stages(asked)
    if not names:
        return Told((missing("No layer of this network has more than one place, so there are no maps to show."),))
    found = {
        name: features(asked.model, asked.images, layer=name, most=MAPS, batch_size=asked.batch_size) for name in names
    }
    blocks = tuple(
        Group(picture.name, tuple(unit_maps(one[row]) for one in found.values()))
        for row, picture in enumerate(asked.pictures)
    )
    made = tuple(one.provenance for one in found.values())
    numbers = {name: one.units.tolist() for name, one in found.items()}
    checks = tuple(dict.fromkeys(check for one in found.values() for check in one.checks))
    return Told(blocks, made, {name.replace("/", "-"): one for name, one in found.items()}, numbers, checks)


def _stages(asked: Asked) -> list[str]:
    """Layers to look at: the last at the first, the middle and the last size of the grid; for that the one of maps."""
    last: dict[tuple[int, int], Layer] = {}
    for layer in sorted(asked.model.layers.values(), key=lambda layer: layer.order):
        if layer.spatial and layer.arrangement is not None:
            last[layer.arrangement.grid] = layer
    names = [layer.name for layer in last.values()]
    if not names:
        return []
    late = asked.layer or (asked.driving[0].layer if asked.driving else names[-1])
    chosen = [names[0], names[len(names) // 2], late.partition(",")[0]]
    return list(dict.fromkeys(chosen))[-STAGES:]


def slow_patches(asked: Asked) -> int:
    """One, where there is a data set to look through."""
    return 0 if asked.examples is None else 1


def tell_patches(asked: Asked) -> Told:
    """What of a data set excites the driving units most."""
    if asked.examples is None:
        return Told((missing("No data set was given to look for patches in; --data (examples) names one."),))
    data = open_dataset(asked.examples)
    wanted = _forwards_of(asked, len(data))
    granted = asked.purse.grant(wanted)
    if granted < wanted:
        asked.purse.give_back(granted)
        reason = f"The patches were left out: they take {wanted} forwards, and the budget has {granted} for them."
        return Told((missing(reason),), checks=(reason,))
    layer, units = _driving_units(asked, most=PATCHED)
    chosen = ",".join(map(str, sorted(units))) or None
    found = patches(asked.model, data, layer=layer or AUTOMATIC, units=chosen, show=PATCHES, seed=asked.seed)
    return Told(unit_patches(found), (found.provenance,), {"": found}, found.describe(), found.checks)


def _forwards_of(asked: Asked, count: int) -> int:
    """Of a first look, a pass over so many pictures, and running those again that are shown; all in whole blocks."""
    block = usual_size(asked.model.device)
    return 2 + sum(math.ceil(each / block) * block for each in (1, count, min(count, PATCHED * PATCHES)))


def slow_pictures(_: Asked) -> int:
    """All pictures that are made are one part."""
    return 1


def tell_pictures(asked: Asked) -> Told:
    """Pictures that the network answers most to: of the explained classes, and of the units that drive them."""
    classes: list[Target] = [one for one in dict.fromkeys(asked.targets) if isinstance(one, ClassTarget)]
    layer, units = _driving_units(asked, most=MADE_UNITS * len(asked.pictures), each=MADE_UNITS)
    wanted = [*classes, *(Unit(layer, unit) for unit in units)]
    if not wanted:
        return Told(
            (missing("What is explained is no class, and no unit speaks for it: there is nothing to picture."),)
        )
    steps, note = _steps(asked, len(wanted))
    if steps == 0:
        return Told((missing(note),), checks=(note,))
    found = maximize(asked.model, wanted, steps=steps, seed=asked.seed)
    some = ((0, len(classes), "For a class"), (len(classes), len(wanted), f"For a unit of {layer}"))
    blocks = [Group(words, (made_pictures(found[start:end]),)) for start, end, words in some if end > start]
    said = (note,) if note else ()
    first = tuple(missing(sentence) for sentence in said)
    return Told((*first, *blocks), (found.provenance,), {"": found}, found.describe(), (*said, *found.checks))


def _steps(asked: Asked, count: int) -> tuple[int, str]:
    """How many steps each picture gets, and what that means; 0 leaves all of them out."""
    usual = USUAL.steps * USUAL.crops + JUDGING
    granted = asked.purse.grant(usual * count)
    each = granted // count
    if each >= usual:
        return USUAL.steps, ""
    steps = max(0, each - JUDGING) // USUAL.crops
    spent = (steps * USUAL.crops + JUDGING) * count if steps >= FEWEST_STEPS else 0
    asked.purse.give_back(granted - spent)
    if not spent:
        return 0, f"The pictures were left out: each takes {usual} forwards, and the budget has {each} for it."
    return steps, f"Each picture had {spent // count} forwards of the {usual} it would have taken: a rougher one."


def _driving_units(asked: Asked, *, most: int, each: int | None = None) -> tuple[str, list[int]]:
    """Units that drive the answers, the strongest of each picture first."""
    if not asked.driving:
        return "", []
    ranked = [
        unit.unit.channel for rank in range(asked.units) for one in asked.driving for unit in one[rank : rank + 1]
    ]
    ranked = ranked if each is None else [unit.unit.channel for one in asked.driving for unit in one[:each]]
    return asked.driving[0].layer, list(dict.fromkeys(ranked))[:most]

"""All mutations."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from benchmarks.mutants.answers import ANSWERS
from benchmarks.mutants.cams import CAMS
from benchmarks.mutants.changed import CHANGED
from benchmarks.mutants.mutation import Mutation
from benchmarks.mutants.pixels import PIXELS
from benchmarks.mutants.places import PLACES
from benchmarks.mutants.regions import REGIONS
from benchmarks.mutants.routes import ROUTES
from benchmarks.mutants.sanity import SANITY
from benchmarks.mutants.telling import TELLING

__all__ = ["FAMILIES", "MUTATIONS"]

FAMILIES: Mapping[str, tuple[Mutation, ...]] = MappingProxyType(
    {
        "Class activation maps": CAMS,
        "Changing the picture or an activation": CHANGED,
        "Gradients at the pixels, and ascent along them": PIXELS,
        "Where things lie, and what is kept of them": PLACES,
        "Windows asked about alone, and the copy that answers": (*ROUTES, *REGIONS),
        "What is counted, cut out and said": TELLING,
        "What networks answer that are no classifiers": ANSWERS,
        "Methods asked again: randomised networks, mosaics, changed pictures": SANITY,
    }
)
MUTATIONS = tuple(mutation for family in FAMILIES.values() for mutation in family)

"""The chapter about a data set with true classes: a short audit."""

from __future__ import annotations

import math

from cnnviz.auditing.audit import audit
from cnnviz.auditing.audit_page import short_blocks
from cnnviz.auditing.outcomes import usual_block
from cnnviz.images.datasets.open import open_dataset
from cnnviz.reporting.chapter import ChapterContent, ReportContext
from cnnviz.reporting.elements import missing_note

__all__ = ["count_slow_audits", "write_audit"]

CASES = 4
"""Mistakes that are shown, each with two maps."""


def count_slow_audits(context: ReportContext) -> int:
    """One, where there is a data set with classes."""
    return 0 if context.examples is None or open_dataset(context.examples).classes is None else 1


def write_audit(context: ReportContext) -> ChapterContent:
    """How often the network is right on a data set, which classes it confuses, and its most confident mistakes."""
    if context.examples is None:
        return ChapterContent(
            (missing_note("Not asked for: --data (in Python examples) names a data set with true classes."),)
        )
    data = open_dataset(context.examples)
    if data.classes is None:
        return ChapterContent((missing_note(f"The pictures of '{data.name}' have no true classes."),))
    block = usual_block(context.model)
    wanted = math.ceil(len(data) / block) * block + 2 * (CASES + CASES // 2)
    granted = context.budget.grant(wanted)
    if granted < wanted:
        context.budget.give_back(granted)
        reason = f"Left out because of --budget: it takes {wanted} forwards, and the budget has {granted} for it."
        return ChapterContent((missing_note(reason),), checks=(reason,))
    found = audit(context.model, data, maps=0, cases=CASES, seed=context.seed)
    return ChapterContent(tuple(short_blocks(found)), (found.provenance,), {"": found}, found.describe(), found.checks)

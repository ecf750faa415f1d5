"""An audit in words and numbers: lines of text, comma-separated values, JSON, and what the user should know."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from cnnviz.auditing.calibration import Reliability
from cnnviz.auditing.frame import PLACES
from cnnviz.drawing.notes import NOTE_KEY
from cnnviz.provenance import Caution

if TYPE_CHECKING:
    from cnnviz.auditing.accuracy import Share
    from cnnviz.auditing.audit_result import Audit

__all__ = [
    "LISTED",
    "csv_of",
    "describe_audit",
    "find_checks",
    "json_of",
    "spell_audit",
    "spell_p",
    "spell_share",
]

LISTED: Final = 100
"""Pictures of each list in a document."""

FEW: Final = 30
"""Pictures of a whole data set below which intervals are wide and no calibration is measured well."""

RARE: Final = 10
FOLDERS: Final = "are used as classes"
"""In the note of a data set that nobody need be told of whom its classes are the point."""

NAMED: Final = 3


def find_checks(made: Audit, notes: Iterable[str] = ()) -> tuple[str, ...]:
    """What the user should know.

    Args:
        made: The audit.
        notes: Those of the data set.
    """
    checks = [note for note in notes if FOLDERS not in note]
    checks += made.truth.notes
    if made.failures:
        checks.append(f"pictures that could not be used: {len(made.failures)}; the first: {made.failures[0][1]}")
    if len(made) < FEW:
        checks.append(Caution(f"{len(made)} pictures are few: intervals are wide, and the calibration is rough"))
    rare = sum(0 < share.total < RARE for share in made.classes)
    if rare:
        checks.append(f"classes with fewer than {RARE} pictures: {rare}; their own accuracy is known roughly")
    absent = made.outcomes.outputs - len(made.occurring)
    if absent:
        checks.append(f"classes of the network without a picture here: {absent} of {made.outcomes.outputs}")
    if 0 < len(made.outcomes.sampled) < len(made):
        checks.append(f"the temperature was fitted to {len(made.outcomes.sampled)} pictures, drawn at random")
    if not made.duplicates.whole:
        checks.append("near-duplicates were looked for among pictures of one answer only: there are too many")
    if made.cases.failures:
        checks.append(f"pictures that could not be drawn: {len(made.cases.failures)}; {made.cases.failures[0][1]}")
    return tuple(checks)


def spell_share(share: Share) -> str:
    """A share with its interval, as percentages."""
    if not share.total:
        return "\N{EN DASH}"
    return f"{share.value:.1%} [{share.low:.1%}, {share.high:.1%}]"


def spell_p(value: float) -> str:
    """A p-value in words."""
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def spell_audit(made: Audit) -> str:
    """Lines of text."""
    return "\n".join(_lines(made))


def _lines(made: Audit) -> Iterator[str]:
    left = made.truth.unlabelled + sum(made.truth.unknown.values()) + len(made.failures)
    yield f"{made.model} on {made.data}: {len(made)} pictures{f', {left} left out' if left else ''}"
    yield f"accuracy   {spell_share(made.accuracy)}"
    if made.top5 is not None:
        yield f"top 5      {spell_share(made.top5)}"
    yield f"by class   {made.balanced:.1%} (mean over {len(made.occurring)} classes)"
    held = made.calibration
    scaled = f"; {held.scaled.error:.3f} at temperature {held.temperature:.2f}" if held.scaled else ""
    yield f"ECE        {held.plain.error:.3f}{scaled}"
    weakest = sorted(made.occurring, key=lambda index: (made.classes[index].value, index))[:NAMED]
    yield "weakest    " + ", ".join(f"{made.labels[index]} {made.classes[index].value:.0%}" for index in weakest)
    if made.pairs:
        some = made.pairs[:NAMED]
        yield "confused   " + ", ".join(f"{made.labels[a]} as {made.labels[b]} {count}x" for a, b, count in some)
    yield f"in doubt   {len(made.doubts)} labels"
    across = ", ".join(f"{count} {kind}" for kind, count in made.duplicates.across.items() if count)
    yield f"copies     across classes: {across or 'none'}"
    if made.evidence is not None:
        means, even = made.evidence.intervals().mean, made.evidence.even_shares()
        told = [
            f"{place} {mean:.0%} (evenly {flat:.0%})"
            for place, mean, flat in zip(PLACES, means, even, strict=True)
            if math.isfinite(mean)
        ]
        yield f"evidence   {', '.join(told)}"
    for name, shares in made.groups.items():
        yield f"{name:10} " + ", ".join(f"{value} {spell_share(share)}" for value, share in list(shares.items())[:6])
    if made.shortcuts is not None:
        flagged = [each.label for each in made.shortcuts.flagged]
        yield f"shortcuts  {', '.join(flagged) or 'none found'}"
    if made.versus is not None:
        test = made.versus.test
        yield (
            f"against    {made.versus.model} {spell_share(made.versus.accuracy)}; difference {test.difference:+.1%} "
            f"[{test.low:+.1%}, {test.high:+.1%}], McNemar {spell_p(test.p_value)}"
        )


def csv_of(made: Audit) -> str:
    """A line for each picture: what it is, what the network answers, how sure, and the groups it belongs to."""
    held = io.StringIO()
    found = made.outcomes
    doubted = dict(zip(made.doubts.rows.tolist(), made.doubts.classes.tolist(), strict=True))
    groups = list(made.truth.groups)
    writer = csv.writer(held, lineterminator="\n")
    writer.writerow(
        ["image", "true", "true_index", "answer", "answer_index", "right", "confidence", "true_probability",
         "true_rank", "label_in_doubt", *groups]
    )  # fmt: skip
    for row, (key, image) in enumerate(zip(made.keys, found.images.tolist(), strict=True)):
        writer.writerow(
            [
                key, made.true(row), int(found.truth[row]), made.answer(row), int(found.predicted[row]),
                int(found.right[row]), _short(found.confidence[row]), _short(found.true_shares[row]),
                int(found.ranks[row]) + 1, made.labels[doubted[row]] if row in doubted else "",
                *(made.truth.groups[name][image] for name in groups),
            ]
        )  # fmt: skip
    return held.getvalue()


def _short(value: Any) -> str:
    return f"{float(value):.6g}"


def json_of(made: Audit) -> str:
    """Everything but the pictures; the same text each time."""
    record = json.loads(made.provenance.drawn(format="json").to_json())
    document = {
        "info": {"description": f"audit of {made.model} on {made.data}", NOTE_KEY: record},
        **describe_audit(made),
    }
    return json.dumps(document, ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def describe_audit(made: Audit) -> dict[str, Any]:
    """What there is to say without a picture, as plain values."""
    found = made.outcomes
    described: dict[str, Any] = {
        "model": made.model,
        "data": made.data,
        "pictures": len(made),
        "left_out": {
            "without_class": made.truth.unlabelled,
            "unknown_classes": dict(made.truth.unknown),
            "failures": [{"image": key, "sentence": sentence} for key, sentence in made.failures],
        },
        "accuracy": _describe_share(made.accuracy),
        "top5": None if made.top5 is None else _describe_share(made.top5),
        "balanced_accuracy": made.balanced,
        "majority_class": made.majority,
        "classes": [
            {"index": index, "label": made.labels[index], **_describe_share(made.classes[index])}
            for index in made.occurring
        ],
        "confusion": [
            {"true": made.labels[true], "answer": made.labels[answer], "pictures": count}
            for true, answer, count in made.pairs
        ],
        "calibration": _describe_calibration(made),
        "groups": {
            name: {value: _describe_share(share) for value, share in shares.items()}
            for name, shares in made.groups.items()
        },
        "mistakes": [_describe_row(made, row) for row in made.mistakes[:LISTED].tolist()],
        "unsure_hits": [_describe_row(made, row) for row in made.unsure_hits[:LISTED].tolist()],
        "labels_in_doubt": {
            "count": len(made.doubts),
            "first": [
                {**_describe_row(made, int(row)), "suggested": made.labels[int(index)], "margin": float(margin)}
                for row, index, margin in zip(
                    made.doubts.rows[:LISTED], made.doubts.classes, made.doubts.margins, strict=False
                )
            ],
        },
        "duplicates": {
            "across_classes": dict(made.duplicates.across),
            "within_classes": dict(made.duplicates.within),
            "pairs": [
                {"first": made.keys[pair.first], "second": made.keys[pair.second], "kind": pair.kind,
                 "likeness": round(pair.likeness, 4)}
                for pair in made.duplicates.pairs[:LISTED]
            ],
        },
        "evidence": _describe_evidence(made),
        "against": _describe_versus(made),
    }  # fmt: skip
    if made.shortcuts is not None:
        described["shortcuts"] = made.shortcuts.describe()
    assert len(found) == len(made.keys)
    return {**described, "checks": list(made.checks)}


def _describe_share(share: Share) -> dict[str, Any]:
    return {"value": _number(share.value), "low": _number(share.low), "high": _number(share.high),
            "count": share.count, "pictures": share.total}  # fmt: skip


def _number(value: Any) -> float | None:
    return float(value) if math.isfinite(value) else None


def _describe_row(made: Audit, row: int) -> dict[str, Any]:
    found = made.outcomes
    return {
        "image": made.keys[row],
        "true": made.true(row),
        "answer": made.answer(row),
        "confidence": float(found.confidence[row]),
        "true_probability": float(found.true_shares[row]),
    }


def _describe_calibration(made: Audit) -> dict[str, Any]:
    held = made.calibration
    return {
        "bins": len(held.plain.counts),
        "ece": held.plain.error,
        "reliability": _describe_bins(held.plain),
        "temperature": _number(held.temperature),
        "temperature_pictures": held.pictures,
        "ece_scaled": None if held.scaled is None else held.scaled.error,
        "reliability_scaled": None if held.scaled is None else _describe_bins(held.scaled),
    }


def _describe_bins(held: Reliability) -> list[dict[str, Any]]:
    return [
        {"pictures": int(count), "confidence": _number(confidence), "accuracy": _number(accuracy)}
        for count, confidence, accuracy in zip(held.counts, held.confidence, held.accuracy, strict=True)
    ]


def _describe_evidence(made: Audit) -> dict[str, Any] | None:
    held = made.evidence
    if held is None:
        return None
    right = made.outcomes.right[held.rows]

    def shares(which: Any) -> dict[str, Any]:
        found, even = held.intervals(which), held.even_shares(which)
        return {
            place: {"mean": _number(found.mean[at]), "low": _number(found.low[at]), "high": _number(found.high[at]),
                    "evenly": _number(even[at])}
            for at, place in enumerate(PLACES)
        }  # fmt: skip

    return {
        "method": held.method,
        "pictures": int(held.standing.sum()),
        "all": shares(held.standing),
        "right": shares(right & held.standing) if (right & held.standing).any() else None,
        "wrong": shares(~right) if (~right).any() else None,
    }


def _describe_versus(made: Audit) -> dict[str, Any] | None:
    held = made.versus
    if held is None:
        return None
    first, second = made.disagreements
    test = held.test
    return {
        "model": held.model,
        "pictures": len(held.rows),
        "accuracy": _describe_share(held.accuracy),
        "ece": held.calibration.plain.error,
        "both_right": test.both,
        "only_first_right": test.first,
        "only_second_right": test.second,
        "both_wrong": test.neither,
        "difference": test.difference,
        "difference_low": test.low,
        "difference_high": test.high,
        "p_mcnemar": test.p_value,
        "only_first": _keys(made, first),
        "only_second": _keys(made, second),
    }


def _keys(made: Audit, rows: Sequence[Any] | Any) -> list[str]:
    return [made.keys[int(row)] for row in rows[:LISTED]]

"""The page of an audit."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from cnnviz.auditing.audit_figures import RIGHT, WRONG, describe_figure, draw_pixels, mean_maps
from cnnviz.auditing.frame import PLACES
from cnnviz.auditing.tables import spell_p, spell_share
from cnnviz.drawing.pages.blocks import Block, Chapter, Facts, Fold, Gallery, Group, Page, Plate, Table, Words, left_out
from cnnviz.drawing.pages.html import render

if TYPE_CHECKING:
    from cnnviz.auditing.accuracy import Share
    from cnnviz.auditing.audit_result import Audit, AuditFigure
    from cnnviz.auditing.cases import DrawnCase

__all__ = ["audit_chapters", "page_of", "short_blocks", "summary_blocks"]

PAGE_WIDTH, PAGE_DPI = 6.75, 170
MOST_CLASSES: Final = 20
"""Classes of a table that is not folded away."""

MOST_PAIRS: Final = 6
LISTED: Final = 12


def page_of(made: Audit) -> str:
    """The page: the same text each time."""
    return render(
        Page(
            title=f"{made.model}: where is it wrong?",
            kicker="An audit by cnnviz",
            lead=f"{len(made)} pictures of {made.data} with {len(made.occurring)} true classes: "
            f"{spell_share(made.accuracy)} are answered right.",
            chapters=tuple(audit_chapters(made)),
            note=made.provenance.drawn(format="html").to_json(),
            notices=left_out([sentence for _, sentence in made.failures]),
            closing="Every number on this page was computed by the network named above.",
        )
    )


def audit_chapters(made: Audit) -> Iterator[Chapter]:
    """The chapters of the page.

    Args:
        made: The audit.
    """
    yield Chapter(
        "accuracy", "Accuracy", "How often is the answer right, and for which classes?",
        (*summary_blocks(made), *_classes(made), *_groups(made)),
        "An accuracy is one of pictures like these. Intervals (95%, after Wilson) say what chance in drawing the "
        "pictures does, and nothing of pictures of another kind.",
    )  # fmt: skip
    yield Chapter(
        "confusion", "Confusion", "Which classes are taken for which?", (_figure(made, "confusion"), *_pairs(made))
    )
    yield Chapter(
        "calibration", "Calibration", "Is the network right as often as it says?", tuple(_calibration(made)),
        "The expected calibration error depends on its bins, and is above 0 for a perfectly calibrated network too.",
    )  # fmt: skip
    if made.cases.mistakes or made.cases.hits:
        yield Chapter(
            "mistakes", "Mistakes", "Why this answer, and why not the true class?", tuple(_mistakes(made)),
            "A map says what raises a class's score. That it lies on something does not prove that the mistake came "
            "from there.",
        )  # fmt: skip
    yield from _doubtful(made)
    if made.evidence is not None:
        yield Chapter(
            "evidence", "What does it look at?", "Where do the answers' maps lie, over all pictures?",
            tuple(_evidence(made)),
            "A mean map shows habits of place. An object that is always in the centre gives the same picture as a "
            "network that looks nowhere else.",
        )  # fmt: skip
    if made.versus is not None:
        yield Chapter("against", "Two networks", "Which of the two is better, and where?", tuple(_versus(made)))
    if made.shortcuts is not None:
        from cnnviz.auditing.shortcuts.cluster_page import shortcut_chapter

        yield shortcut_chapter(made.shortcuts)
    if made.checks:
        words = tuple(Words(f"{each[0].upper()}{each[1:]}.".replace("..", ".")) for each in made.checks)
        yield Chapter("checks", "What to know", "What was left out, and what changes how to read this?", words)


def summary_blocks(made: Audit) -> tuple[Block, ...]:
    """The few numbers of an audit.

    Args:
        made: The audit.
    """
    left = made.truth.unlabelled + sum(made.truth.unknown.values()) + len(made.failures)
    held = made.calibration
    rows = [
        ("pictures", f"{len(made)}" + (f", and {left} left out" if left else "")),
        ("accuracy", spell_share(made.accuracy)),
        *([("true class among the first 5", spell_share(made.top5))] if made.top5 is not None else []),
        ("mean over classes", f"{made.balanced:.1%} of {len(made.occurring)} classes"),
        ("always the most frequent class", f"{made.majority:.1%}"),
        ("calibration error (ECE)", _spell_error(held.plain.error, held.scaled.error if held.scaled else None)),
        ("labels in doubt", f"{len(made.doubts)}"),
        ("copies across classes", _spell_kinds(made)),
    ]
    return (Facts(tuple(rows)),)


def short_blocks(made: Audit) -> Iterator[Block]:
    """An audit in one chapter of another page.

    Args:
        made: The audit.
    """
    yield from summary_blocks(made)
    yield _figure(made, "confusion")
    for case in made.cases.mistakes:
        yield Group(
            f"{WRONG} {made.answer(case.row)}, true: {made.true(case.row)}",
            (Gallery(tuple(_plates(made, case)), "row", f"{made.keys[case.row]}"),),
        )
    yield Words("cnnviz audit writes a page about the whole data set.", "quiet")


def _spell_error(plain: float, scaled: float | None) -> str:
    return f"{plain:.1%}" + (f"; {scaled:.1%} after temperature scaling" if scaled is not None else "")


def _spell_kinds(made: Audit) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in made.duplicates.across.items() if count) or "none"


def _classes(made: Audit) -> Iterator[Block]:
    order = sorted(made.occurring, key=lambda index: (made.classes[index].value, index))
    heads = ("Class", "Right", "95% interval", "Pictures", "Most often taken for")
    rows = [_class_row(made, index) for index in order]
    caption = "Classes, the weakest first"
    yield Table(caption, heads, tuple(rows[:MOST_CLASSES]), (1, 2, 3))
    if len(rows) > MOST_CLASSES:
        more = Table(caption, heads, tuple(rows[MOST_CLASSES:]), (1, 2, 3))
        yield Fold(f"The other {len(rows) - MOST_CLASSES} classes", blocks=(more,))


def _class_row(made: Audit, index: int) -> tuple[str, ...]:
    share, wrong = made.classes[index], made.confusion[index].copy()
    wrong[index] = 0
    most = int(wrong.argmax())
    taken = f"{made.labels[most]} ({wrong[most]})" if wrong[most] else "\N{EN DASH}"
    return made.labels[index], f"{share.value:.1%}", _interval(share), f"{share.total}", taken


def _interval(share: Share) -> str:
    return f"[{share.low:.1%}, {share.high:.1%}]"


def _groups(made: Audit) -> Iterator[Block]:
    for name, shares in made.groups.items():
        rows = tuple(
            (value, f"{share.value:.1%}", _interval(share), f"{share.total}")
            for value, share in sorted(shares.items(), key=lambda each: each[1].value)
        )
        yield Table(f"By {name}, the weakest first", (name, "Right", "95% interval", "Pictures"), rows, (1, 2, 3))


def _pairs(made: Audit) -> Iterator[Block]:
    rows = tuple(
        (made.labels[true], made.labels[answer], f"{count}", f"{count / made.classes[true].total:.1%}")
        for true, answer, count in made.pairs
    )
    if rows:
        yield Table("The most frequent mistakes", ("True class", "Answer", "Pictures", "Of the class"), rows, (2, 3))
    else:
        yield Words("There is no mistake.", "quiet")


def _calibration(made: Audit) -> Iterator[Block]:
    held = made.calibration
    yield _figure(made, "reliability")
    if held.scaled is None:
        yield Words("No temperature was fitted: too few pictures, or answers that are no softmax.", "quiet")
        return
    way = "less" if held.temperature > 1 else "more"
    yield Words(
        f"Dividing the logits by {held.temperature:.2f} makes the network {way} sure and changes no answer. The error "
        "beside it is honest: each half of the pictures is judged at the temperature that was fitted to the other "
        f"half ({held.halves[0]:.2f} and {held.halves[1]:.2f})."
    )


def _mistakes(made: Audit) -> Iterator[Block]:
    for number, case in enumerate(made.cases.mistakes, 1):
        yield Group(
            f"{number}. {WRONG} {made.answer(case.row)}, true: {made.true(case.row)}",
            (Gallery(tuple(_plates(made, case)), "row", f"{made.keys[case.row]}"),),
        )
    if made.cases.hits:
        plates = tuple(
            Plate(
                case.why, f"Map of {made.answer(case.row)} over the picture {made.keys[case.row]}",
                f"{RIGHT} {made.answer(case.row)}",
                f"{made.outcomes.confidence[case.row]:.1%}\n{made.keys[case.row].rpartition('/')[2]}", case.scale,
            )
            for case in made.cases.hits
        )  # fmt: skip
        yield Group("Right answers that were least sure", (Gallery(plates, "medium"),))


def _plates(made: Audit, case: DrawnCase) -> Iterator[Plate]:
    answer, true = made.answer(case.row), made.true(case.row)
    sure, share = made.outcomes.confidence[case.row], made.outcomes.true_shares[case.row]
    yield Plate(case.why, f"Map of the answer {answer}", f"Why {answer}?", f"{WRONG} {sure:.1%}", case.scale)
    yield Plate(case.why_not, f"Map of the true class {true}", f"Why not {true}?", f"{share:.1%}", case.scale)
    yield Plate(case.photo, f"The picture {made.keys[case.row]}", "The picture", f"true class: {true}")


def _doubtful(made: Audit) -> Iterator[Chapter]:
    doubts, blocks = made.doubts, []
    if len(doubts):
        rows = tuple(
            (made.keys[row], made.true(row), made.labels[int(index)], f"{margin:+.2f}")
            for row, index, margin in zip(
                doubts.rows[:LISTED].tolist(), doubts.classes.tolist(), doubts.margins.tolist(), strict=False
            )
        )
        plates = tuple(
            Plate(
                made.cases.photos[row], f"The picture {made.keys[row]}", f"{made.labels[index]}?",
                f"given: {made.true(row)}\n{made.keys[row].rpartition('/')[2]}",
            )
            for row, index in zip(doubts.rows[:LISTED].tolist(), doubts.classes.tolist(), strict=False)
            if row in made.cases.photos
        )  # fmt: skip
        inner: tuple[Block, ...] = (
            Words(f"{len(doubts)} labels are in doubt; the surest first."),
            *([Gallery(plates, "small")] if plates else []),
            Fold(
                "As a table", blocks=(Table("Labels in doubt", ("Picture", "Given", "Network", "Margin"), rows, (3,)),)
            ),
        )
        blocks.append(Group("Labels in doubt", inner))
    if made.duplicates.pairs:
        blocks.append(Group("Copies across classes", tuple(_copies(made))))
    if blocks:
        yield Chapter(
            "doubts", "Labels in doubt and copies", "Is the data set itself wrong?", tuple(blocks),
            "A label is in doubt where another class reaches its own mean probability and the given class is less "
            "probable (confident learning, Northcutt et al. 2021). A mistake of the network looks the same; only a "
            "person can tell. Pictures that the network was trained on tell little.",
        )  # fmt: skip


def _copies(made: Audit) -> Iterator[Block]:
    yield Words(
        f"Pairs across classes: {_spell_kinds(made)}. Within classes: "
        f"{sum(made.duplicates.within.values())}. Alike: the network's last layer hardly tells them apart."
    )
    for pair in made.duplicates.pairs[:MOST_PAIRS]:
        plates = tuple(
            Plate(
                made.cases.photos[row],
                f"The picture {made.keys[row]}",
                made.true(row),
                made.keys[row].rpartition("/")[2],
            )
            for row in (pair.first, pair.second)
            if row in made.cases.photos
        )
        if plates:
            yield Gallery(plates, "medium", f"{pair.kind}, {pair.likeness:.2f}")


def _evidence(made: Audit) -> Iterator[Block]:
    assert made.evidence is not None
    held = made.evidence
    maps, scale = mean_maps(made)
    plates = tuple(
        Plate(
            each.pixels(scale), f"Mean map of {each.title}", each.title, f"{each.count} picture{'s' * (each.count > 1)}"
        )
        for each in maps
    )
    yield Gallery(plates, "small", describe_figure(made, "maps"), scale)
    right = made.outcomes.right[held.rows]
    rows = []
    for name, which in (("all", held.standing), ("right", right & held.standing), ("wrong", ~right)):
        if not which.any():
            continue
        found, even = held.intervals(which), held.even_shares(which)
        for at, place in enumerate(PLACES):
            if math.isfinite(found.mean[at]):
                ends = f"[{found.low[at]:.1%}, {found.high[at]:.1%}]" if math.isfinite(found.low[at]) else ""
                rows.append((name, place, f"{found.mean[at]:.1%}", ends, f"{even[at]:.1%}", f"{found.count[at]}"))
    yield Table(
        "Share of the evidence", ("Answers", "Where", "Share", "95% interval", "If spread evenly", "Pictures"),
        tuple(rows), (2, 3, 4, 5),
    )  # fmt: skip
    yield Words(
        "Centre: the middle half of each side. Border: the outer tenth of each side. Mask: the object, where that is "
        f"known.{f' Maps without positive evidence, left out: {held.blank}.' if held.blank else ''}",
        "quiet",
    )


def _versus(made: Audit) -> Iterator[Block]:
    held = made.versus
    assert held is not None
    test = held.test
    number = len(held.rows)
    yield Facts(
        (
            (made.model, f"{(test.both + test.first) / number:.1%} right; ECE {made.calibration.plain.error:.1%}"),
            (held.model, f"{spell_share(held.accuracy)} right; ECE {held.calibration.plain.error:.1%}"),
            (
                "difference",
                f"{test.difference:+.1%} [{test.low:+.1%}, {test.high:+.1%}], McNemar {spell_p(test.p_value)}",
            ),
            ("both right", f"{test.both} of {number}"),
            (f"only {made.model}", f"{test.first}"),
            (f"only {held.model}", f"{test.second}"),
            ("none", f"{test.neither}"),
        )
    )
    answers = dict(zip(held.rows.tolist(), held.answers, strict=True))
    for name, rows in zip((made.model, held.model), made.disagreements, strict=True):
        plates = tuple(
            Plate(
                made.cases.photos[row], f"The picture {made.keys[row]}", f"true: {made.true(row)}",
                f"{made.model}: {made.answer(row)}\n{held.model}: {answers[row]}",
            )
            for row in rows[:LISTED].tolist()
            if row in made.cases.photos
        )  # fmt: skip
        if plates:
            yield Group(f"Only {name} is right", (Gallery(plates, "small"),))


def _figure(made: Audit, kind: AuditFigure) -> Gallery:
    words = describe_figure(made, kind)
    return Gallery((Plate(draw_pixels(made, kind, PAGE_WIDTH, PAGE_DPI), words, caption=words, exact=True),), "whole")

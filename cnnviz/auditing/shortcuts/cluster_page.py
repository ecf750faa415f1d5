"""The page of shortcuts, and the chapter that an audit's page takes from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cnnviz.auditing.shortcuts.cluster_figure import HEADINGS, cluster_cells
from cnnviz.auditing.shortcuts.listing import spell_effect, spell_place
from cnnviz.drawing.pages.blocks import Block, Chapter, Facts, Fold, Gallery, Group, Page, Plate, Table, Words, left_out
from cnnviz.drawing.pages.html import render

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cnnviz.auditing.shortcuts.findings import ClassClusters, Cluster, Shortcuts

__all__ = ["page_of_shortcuts", "shortcut_chapter"]

MOST_DRAWN: Final = 12
LIMITS: Final = (
    "Marks that look alike and lie at one place are found. Marks that move, textures and whatever has no place are not "
    "found. Objects that look the same at the same place in all pictures of a cluster may be flagged too: look at the "
    "pictures. Covered and pasted places make pictures that the network has never seen."
)


def page_of_shortcuts(found: Shortcuts) -> str:
    """The page: the same text each time."""
    return render(
        Page(
            title=f"{found.model}: does it look at the wrong thing?",
            kicker="A hunt for shortcuts by cnnviz",
            lead=f"{found.method} of {found.pictures} pictures of {found.data}, clustered class by class.",
            chapters=(shortcut_chapter(found), _clusters_chapter(found)),
            note=found.provenance.drawn(format="html").to_json(),
            notices=left_out([sentence for _, sentence in found.failures]),
            closing="Every number on this page was computed by the network named above.",
        )
    )


def shortcut_chapter(found: Shortcuts) -> Chapter:
    """The flagged classes, a group each.

    Args:
        found: What was found, with its pictures at hand.
    """
    return Chapter(
        "shortcuts", "Shortcuts", "Which classes does it tell by a mark, and not by the object?",
        tuple(_flag_blocks(found)), LIMITS,
    )  # fmt: skip


def _flag_blocks(found: Shortcuts) -> Iterator[Block]:
    number = len(found.classes)
    yield Words(
        f"{len(found.flagged)} of {number} class{'es' if number != 1 else ''} with a shortcut: hiding the place on the "
        "cluster's own pictures lowers the class's probability, and what they have in common there raises it on "
        "pictures of other classes, both beyond the 95% bootstrap interval."
    )
    for one in found.flagged[:MOST_DRAWN]:
        yield Group(f"{one.label}: {one.flags[0].name}", tuple(_flag(found, one, one.flags[0])))
    if len(found.flagged) > MOST_DRAWN:
        rest = ", ".join(each.label for each in found.flagged[MOST_DRAWN:])
        yield Words(f"Flagged too: {rest}.", "quiet")
    yield from (Words(f"{check[0].upper()}{check[1:]}.", "quiet") for check in found.checks)


def _flag(found: Shortcuts, one: ClassClusters, cluster: Cluster) -> Iterator[Block]:
    plates = tuple(
        Plate(cell.pixels, f"{heading} of {one.label}, {cluster.name}", heading, cell.caption)
        for heading, cell in zip(HEADINGS, cluster_cells(found, one, cluster), strict=True)
        if cell is not None
    )
    yield Gallery(plates, "small", "Outlined: the place that the maps look at and whose content is alike.")
    rows = [
        ("Pictures", f"{len(cluster.images)}, {cluster.share:.0%} of the class; {cluster.accuracy:.0%} answered right"),
        ("Place", spell_place(cluster)),
        ("Place hidden", f"{spell_effect(cluster.hidden)} on the cluster's own pictures"),
        ("Content on others", f"{spell_effect(cluster.given)} on {cluster.given.count} pictures of other classes"),
        ("Classes raised", f"{cluster.raised:.0%} of the other classes, by 10 points or more"),
        (
            "Answered as the class",
            f"{cluster.given.answered_before:.0%} of these before, {cluster.given.answered_after:.0%} after",
        ),
        ("Typical", ", ".join(found.keys[image] for image in cluster.typical)),
    ]
    if cluster.channels:
        rows.append((f"Channels of {one.layer}", "; ".join(_spell_channels(cluster))))
    yield Facts(tuple(rows))


def _spell_channels(cluster: Cluster) -> Iterator[str]:
    for each in cluster.channels:
        excited = f", excited most by {', '.join(each.excited_by)}" if each.excited_by else ""
        yield f"{each.channel} (adds {each.inside:.2g}, on the rest of the class {each.outside:.2g}{excited})"


def _clusters_chapter(found: Shortcuts) -> Chapter:
    """All clusters of all classes as a table, folded away."""
    rows = tuple(
        (
            one.label,
            cluster.name,
            str(len(cluster.images)),
            f"{cluster.accuracy:.0%}",
            spell_effect(cluster.hidden),
            spell_effect(cluster.given),
            "yes" if cluster.flagged else "",
        )
        for one in found.classes
        for cluster in one.clusters
    )
    names = "Class", "Cluster", "Pictures", "Right", "Place hidden", "Content on others", "Shortcut"
    return Chapter(
        "clusters", "All clusters", "What groups do the maps of each class fall into?",
        (Fold(f"{len(rows)} clusters", blocks=(Table("Clusters by class", names, rows, (2, 3)),)),),
        "The number of clusters is that of the largest eigengap; that there are several proves nothing.",
    )  # fmt: skip

"""Found shortcuts as lines of text, as comma-separated values and as JSON."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

from cnnviz.drawing.notes import NOTE_KEY

if TYPE_CHECKING:
    from cnnviz.auditing.shortcuts.effects import Effect
    from cnnviz.auditing.shortcuts.findings import ClassClusters, Cluster, Shortcuts

__all__ = ["csv_of_clusters", "json_of_shortcuts", "spell_effect", "spell_place", "spell_shortcuts"]

COLUMNS = ("hidden", "given")


def spell_effect(effect: Effect) -> str:
    """A change of a probability in points with its interval, such as ``"-46 points [-52, -40]"``."""
    change, low, high = (_signed(100 * each) for each in (effect.change, effect.low, effect.high))
    return f"{change} points [{low}, {high}]"


def _signed(value: float) -> str:
    words = f"{value:+.0f}"
    return "0" if words in ("+0", "-0") else words.replace("-", "\N{MINUS SIGN}")


def spell_place(cluster: Cluster) -> str:
    """Where a cluster's place lies: its box in pixels of the network's input, and its share of it."""
    if cluster.box is None:
        return "nowhere"
    left, top, right, bottom = cluster.box
    return f"columns {left} to {right - 1}, rows {top} to {bottom - 1} ({cluster.place.mean():.0%} of the input)"


def spell_shortcuts(found: Shortcuts) -> str:
    """A line for each flagged cluster, and what the rule is."""
    number = len(found.classes)
    head = f"{len(found.flagged)} of {number} class{'es' if number != 1 else ''} of {found.data} with a shortcut"
    lines = [f"{head} ({found.model}, {found.method}, {found.pictures} pictures)"]
    for each in found.flagged:
        lines += [f"  {_spell_flag(each, each.flags[0])}"]
    lines.append(
        "A shortcut: hiding the place on the cluster's pictures lowers the class's probability, and what they have in "
        "common there raises it on pictures of other classes (95 % intervals)."
    )
    return "\n".join([*lines, *(f"note: {check}" for check in found.checks)])


def _spell_flag(one: ClassClusters, cluster: Cluster) -> str:
    return (
        f"{one.label}: {cluster.name}, {cluster.share:.0%} of its pictures; {spell_place(cluster)}; hidden "
        f"{spell_effect(cluster.hidden)}; on other pictures {spell_effect(cluster.given)}"
    )


def csv_of_clusters(found: Shortcuts) -> str:
    """A line for each cluster of each class."""
    held = io.StringIO()
    rows = [_row(found, one, cluster) for one in found.classes for cluster in one.clusters]
    writer = csv.DictWriter(held, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return held.getvalue()


def _row(found: Shortcuts, one: ClassClusters, cluster: Cluster) -> dict[str, Any]:
    left, top, right, bottom = cluster.box or ("", "", "", "")
    row = {
        "class": one.index,
        "label": one.label,
        "cluster": cluster.number,
        "flagged": cluster.flagged,
        "pictures": len(cluster.images),
        "share": cluster.share,
        "accuracy": cluster.accuracy,
        "left": left,
        "top": top,
        "right": right,
        "bottom": bottom,
    }
    for name in COLUMNS:
        effect: Effect = getattr(cluster, name)
        row |= {name: effect.change, f"{name}_low": effect.low, f"{name}_high": effect.high}
    row["classes_raised"] = cluster.raised
    channels = " ".join(str(each.channel) for each in cluster.channels)
    return row | {"channels": channels, "typical": " ".join(found.keys[image] for image in cluster.typical)}


def json_of_shortcuts(found: Shortcuts) -> str:
    """All that was found but the pictures, and how; the same text each time."""
    record = json.loads(found.provenance.drawn(format="json").to_json())
    about = {"description": f"shortcuts of {found.model} on {found.data}", NOTE_KEY: record}
    return json.dumps({"info": about, **found.describe()}, ensure_ascii=False, indent=1, allow_nan=False) + "\n"

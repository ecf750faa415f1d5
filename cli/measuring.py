"""``cnnviz layers --effective``: receptive fields in words and numbers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

import cnnviz
from cnnviz.errors import UsageError

from .inputs import open_model
from .options import Option
from .output import make_folder, plan, print_json, print_table

__all__ = ["MEASURING", "check_together", "field_words", "measure"]

MEASURING = (
    Option(
        "--effective", is_flag=True, section="Method",
        help="Measure the effective receptive field: how far from a unit's centre pixels still move it.",
    ),
    Option(
        "--layer", metavar="A,B", section="Method",
        help="With --effective: the layers; left out, the last of each size of maps.",
    ),
    Option(
        "--images", metavar="PATH", multiple=True, type=click.Path(), section="Method",
        help="With --effective: pictures or folders to average over instead of noise.",
    ),
    Option(
        "--count", type=click.IntRange(min=1), section="Method",
        help="With --effective: how many inputs of noise; left out, 20.",
    ),
)  # fmt: skip
HEADINGS = ("layer", "field", "effective", "50 % within", "90 % within", "inputs")


def check_together(values: Mapping[str, Any]) -> None:
    """Refuse options that would be ignored.

    Raises:
        UsageError: If there are any.
    """
    measuring = [f"--{name}" for name in ("layer", "images", "count") if values[name]]
    if measuring and not values["effective"]:
        raise UsageError(f"{measuring[0]} goes with --effective.")
    if values["effective"] and values["rank"] is not None:
        raise UsageError("--rank and --effective are two questions; ask one at a time.")
    if values["images"] and values["count"]:
        raise UsageError("--count is the number of inputs of noise; with --images every picture counts.")


def field_words(field: cnnviz.Field | None) -> tuple[str, str, str, str]:
    """Size, stride, offset and kind of a field, as a table has them."""
    if field is None:
        return "-", "-", "-", "nothing of the input"
    kind = f"{field.kind} ({field.because})" if field.because else field.kind
    if field.size is None or field.stride is None or field.offset is None:
        return "-", "-", "-", kind
    more = ["" if field.regular else "irregular", "" if field.aligned else "branches not aligned"]
    return _both(field.size), _both(field.stride), _both(field.offset), ", ".join([kind, *filter(None, more)])


def _both(pair: tuple[float, float]) -> str:
    """One number where down and across are the same."""
    down, across = (f"{number:g}" for number in pair)
    return down if down == across else f"{down}x{across}"


def measure(values: Mapping[str, Any]) -> None:
    """Print the effective fields of some layers, and draw them where a file is named."""
    file: Path | None = None
    if values["out"] is not None:
        (file,) = plan([Path("layers")], "effective", values["out"], force=values["force"]).files
    model = open_model(values)
    images = list(cnnviz.expand_paths(values["images"])) if values["images"] else None
    settings = {"count": values["count"]} if values["count"] else {}
    found = [
        cnnviz.effective_field(model, name, images, seed=values["seed"], **settings)
        for name in _chosen(model, values["layer"])
    ]
    if file is not None:
        make_folder(file.parent)
        cnnviz.grid([[(one.pixels, f"{one.layer}\n{one.caption()}") for one in found]]).save(file)
    if values["as_json"]:
        print_json([{**one.describe(), "output": str(file) if file else None} for one in found])
        return
    print_table([HEADINGS, *map(_row, found)])
    if file is not None:
        click.echo(file)


def _chosen(model: cnnviz.Model, names: str | None) -> list[str]:
    """The layers that are named, or the last of each size of maps."""
    if names is not None:
        return [name.strip() for name in names.split(",")]
    last = {}
    for layer in sorted(model.layers.values(), key=lambda layer: layer.order):
        if layer.arrangement is not None and layer.spatial and layer.field is not None:
            last[layer.arrangement.grid] = layer.name
    if not last:
        raise UsageError("No layer of this network has a spatial output.")
    return list(last.values())


def _row(one: cnnviz.EffectiveField) -> tuple[str, ...]:
    size, *_ = field_words(one.field)
    numbers = (one.size, one.radius(0.5), one.radius(0.9))
    return (one.layer, size, *(f"{number:.0f}" for number in numbers), str(one.inputs))

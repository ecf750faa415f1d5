"""``cnnviz models | layers | methods``: what there is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import click

import cnnviz
from cnnviz.catalogue import CATALOGUE, command_name, load
from cnnviz.errors import UnknownNameError, UsageError

from ..options import FIGURE, FORCE, JSON, NETWORK, OUT, SEED, TARGET, Option, SectionedCommand, paper_of
from ..output import echo, plan_output, print_json, print_table, spell_question
from ..run import open_model, plan_first

__all__ = ["layers", "methods", "models"]

MEASURING = (
    Option(
        "--effective", is_flag=True, section="Method",
        help="Measure the effective receptive field: how the gradient of a unit falls off from its centre.",
    ),
    Option(
        "--layer", metavar="A,B", section="Method",
        help="With --effective: the layers, separated by commas; default: the last layer of each resolution.",
    ),
    Option(
        "--images", metavar="PATH", multiple=True, type=click.Path(), section="Method",
        help="With --effective: pictures or folders to average over, instead of noise.",
    ),
    Option(
        "--count", type=click.IntRange(min=1), section="Method",
        help="With --effective: number of noise inputs; default: 20.",
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
    return (
        _format_lengths(field.size),
        _format_lengths(field.stride),
        _format_lengths(field.offset),
        ", ".join([kind, *filter(None, more)]),
    )


def _format_lengths(lengths: Sequence[float]) -> str:
    """One number where all axes have the same."""
    numbers = [f"{number:g}" for number in lengths]
    return numbers[0] if len({*numbers}) == 1 else "x".join(numbers)


def measure(values: Mapping[str, Any]) -> None:
    """Print the effective fields of some layers, and draw them where a file is named."""
    from cnnviz.images.inputs import list_files

    planned, paper = None, paper_of(values)
    if values["out"] is not None:
        planned = plan_first(
            lambda: plan_output([Path("layers")], "effective", values["out"], force=values["force"], singly=False),
            partial(open_model, values),
            values,
        )
    model = open_model(values)
    images, left_out = list_files(values["images"], model.places) if values["images"] else (None, ())
    settings = {"count": values["count"]} if values["count"] else {}
    found = [
        cnnviz.effective_field(model, name, images, seed=values["seed"], **settings)
        for name in _choose_layers(model, values["layer"])
    ]
    written: Sequence[Path] = ()
    if planned is not None:
        drawn = [[(one.pixels, one.caption()) for one in found]]
        title = f"Effective receptive fields \N{MIDDLE DOT} {model.name}"
        note = f"Mean magnitude of a unit's gradient over {found[0].inputs} inputs; the brightest is the largest."
        written = planned.save(
            cnnviz.grid(drawn, column_headings=[one.layer for one in found], title=title, notes=[note]), **paper
        )
    if values["as_json"]:
        print_json([{**one.describe(), "output": str(written[0]) if written else None} for one in found])
        return
    for note in left_out:
        echo(f"note: {note}", err=True)
    print_table([HEADINGS, *map(_row, found)])
    for file in written:
        echo(file)


def _choose_layers(model: cnnviz.Model, names: str | None) -> list[str]:
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


def run_models(pattern: str | None, *, as_json: bool) -> None:
    """Print the networks that open by name, the bundled ones first."""
    found = cnnviz.model_names(pattern)
    if as_json:
        print_json([asdict(one) for one in found])
    elif found:
        print_table([(one.name, one.source, one.task, "weights cached" if one.cached else "") for one in found])
    else:
        names = [one.name for one in cnnviz.model_names()]
        raise UnknownNameError("network", pattern or "", names, "'cnnviz models' lists them all.")


def run_layers(**values: Any) -> None:
    """Print the layers of a network as one forward showed them, rank them on a picture, or measure their fields."""
    check_together(values)
    if values["rank"] is not None:
        rank(values)
        return
    if values["effective"]:
        measure(values)
        return
    model = open_model(values)
    found = model.layers
    automatic = cnnviz.choose_layer(model) if any(layer.spatial for layer in found.values()) else None
    if values["as_json"]:
        print_json([_describe_layer(layer, automatic) for layer in found.values()])
        return
    rows = [("layer", "kind", "output", "weights", "calls", "field", "stride", "offset", "sees", "")]
    for layer in found.values():
        shape = "x".join(map(str, layer.shape)) if layer.shape else "-"
        mark = "<- default" if layer.name == automatic else ""
        about = (layer.name, layer.kind, shape, f"{layer.parameters:,}", str(layer.calls))
        rows.append((*about, *field_words(layer.field), mark))
    print_table(rows)


def rank(values: Mapping[str, Any]) -> None:
    """Draw the maps of candidate layers with the evidence for each, and print it."""
    paper = paper_of(values)
    out, force, question = values["out"], values["force"], spell_question({"target": values["target"]})
    planned = plan_first(
        lambda: plan_output([values["rank"]], "layers", out, force=force, singly=False, asked=question),
        partial(open_model, values),
        values,
    )
    picture = cnnviz.read_picture(values["rank"], value_range=values["value_range"])
    found = cnnviz.rank_layers(open_model(values), picture, values["target"])
    (file,) = planned.save(found, **paper)
    if values["as_json"]:
        print_json([{"name": one.name, "kept": one.kept, "lost": one.lost, "output": str(file)} for one in found])
        return
    print_table([("layer", "kept", "lost"), *((one.name, f"{one.kept:.1%}", f"{one.lost:.1%}") for one in found)])
    echo(file)


def _describe_layer(layer: cnnviz.Layer, automatic: str | None) -> dict[str, Any]:
    return {
        "name": layer.name,
        "kind": layer.kind,
        "shape": layer.shape,
        "parameters": layer.parameters,
        "calls": layer.calls,
        "spatial": layer.spatial,
        "automatic": layer.name == automatic,
        "field": layer.field.describe() if layer.field else None,
    }


def run_methods(*, as_json: bool) -> None:
    """Print the methods with family, first sentence and paper."""
    found = [
        {
            "name": command_name(name),
            "family": entry.family,
            "summary": entry.summary,
            "cost": entry.cost,
            "reference": load(name).reference,
        }
        for name, entry in CATALOGUE.items()
    ]
    if as_json:
        print_json(found)
        return
    family = ""
    for one in found:
        if one["family"] != family:
            family = one["family"]
            click.echo(f"{family}:")
        click.echo(f"  {one['name']}: {one['summary']}\n      Cost: {one['cost']}.\n      {one['reference']}")


models = SectionedCommand(
    "models",
    params=[click.Argument(["pattern"], required=False, metavar="[FILTER]"), JSON],
    callback=run_models,
    help="List the networks that can be opened by name.\n\nFILTER is part of a name, or a pattern with * and ?.",
)
layers = SectionedCommand(
    "layers",
    params=[
        Option(
            "--rank",
            metavar="IMAGE",
            type=click.Path(path_type=Path),
            section="Method",
            help="Compare the maps of candidate layers on this picture: how much of the target's probability the top "
            "of each map keeps, and how much hiding it loses.",
        ),
        *MEASURING,
        TARGET,
        *NETWORK,
        *FIGURE,
        SEED,
        OUT,
        FORCE,
        JSON,
    ],
    callback=run_layers,
    help="List a network's layers with output shapes, weights and receptive fields.\n\n"
    "Columns: the size of the receptive field, the stride between units and the centre of the first unit, in pixels of "
    "the input. The layer that is used by default is marked. --rank compares layers on a picture; --effective measures "
    "how much of its receptive field a unit uses.",
)
methods = SectionedCommand(
    "methods", params=[JSON], callback=run_methods, help="List the methods with their costs and papers."
)

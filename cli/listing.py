"""``cnnviz models | layers | methods``: what there is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

import cnnviz
from cnnviz.catalogue import CATALOGUE, command_name, describe
from cnnviz.errors import UnknownNameError

from .inputs import open_model
from .measuring import MEASURING, check_together, field_words, measure
from .options import FORCE, JSON, NETWORK, OUT, SEED, TARGET, Option, Sectioned
from .output import make_folder, plan, print_json, print_table

__all__ = ["layers", "methods", "models"]


def list_models(pattern: str | None, *, as_json: bool) -> None:
    """Print the networks that open by name, the bundled ones first."""
    found = cnnviz.model_names(pattern)
    if as_json:
        print_json([{"name": one.name, "source": one.source, "cached": one.cached} for one in found])
    elif found:
        print_table([(one.name, one.source, "weights cached" if one.cached else "") for one in found])
    else:
        names = [one.name for one in cnnviz.model_names()]
        raise UnknownNameError("network", pattern or "", names, "'cnnviz models' lists them all.")


def list_layers(**values: Any) -> None:
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
        print_json([_layer(layer, automatic) for layer in found.values()])
        return
    rows = [("layer", "kind", "output", "weights", "calls", "field", "stride", "offset", "sees", "")]
    for layer in found.values():
        shape = "x".join(map(str, layer.shape)) if layer.shape else "-"
        mark = "<- taken if none is named" if layer.name == automatic else ""
        about = (layer.name, layer.kind, shape, f"{layer.parameters:,}", str(layer.calls))
        rows.append((*about, *field_words(layer.field), mark))
    print_table(rows)


def rank(values: Mapping[str, Any]) -> None:
    """Draw the maps of candidate layers with the evidence for each, and print it."""
    (file,) = plan([values["rank"]], "layers", values["out"], force=values["force"]).files
    picture = cnnviz.read_picture(values["rank"])
    found = cnnviz.rank_layers(open_model(values), picture, values["target"])
    make_folder(file.parent)
    found.save(file)
    if values["as_json"]:
        print_json([{"name": one.name, "kept": one.kept, "lost": one.lost, "output": str(file)} for one in found])
        return
    print_table([("layer", "kept", "lost"), *((one.name, f"{one.kept:.1%}", f"{one.lost:.1%}") for one in found)])
    click.echo(file)


def _layer(layer: cnnviz.Layer, automatic: str | None) -> dict[str, Any]:
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


def list_methods(*, as_json: bool) -> None:
    """Print the methods with family, first sentence and paper."""
    found = [
        {
            "name": command_name(name),
            "family": entry.family,
            "summary": entry.summary,
            "cost": entry.cost,
            "reference": describe(name).reference,
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


models = Sectioned(
    "models",
    params=[click.Argument(["pattern"], required=False, metavar="[FILTER]"), JSON],
    callback=list_models,
    help="The networks that open by name.\n\nFILTER is part of a name, or a pattern with * and ?.",
)
layers = Sectioned(
    "layers",
    params=[
        Option(
            "--rank",
            metavar="IMAGE",
            type=click.Path(path_type=Path),
            section="Method",
            help="Draw the maps of candidate layers on a picture, each with what its highest places keep of the target "
            "and what hiding them takes away.",
        ),
        *MEASURING,
        TARGET,
        *NETWORK,
        SEED,
        OUT,
        FORCE,
        JSON,
    ],
    callback=list_layers,
    help="The layers of a network, with their outputs and weights and what their units see.\n\n"
    "What a unit sees: the size of its receptive field, the stride from unit to unit and the centre of the first, in "
    "pixels of the input. Marked is the layer taken if none is named. With --rank, evidence which to take; with "
    "--effective, how much of its field a unit really uses.",
)
methods = Sectioned("methods", params=[JSON], callback=list_methods, help="The methods, with their papers.")

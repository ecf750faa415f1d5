"""``cnnviz compare``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

import cnnviz
from cnnviz.catalogue import load
from cnnviz.errors import UnknownNameError, UsageError
from cnnviz.lengths import PerAxis
from cnnviz.method import Method

from ..options import (
    FIGURE,
    IMAGES_HELP,
    NETWORK,
    OUTPUT,
    SEED,
    TARGET,
    TRUTH,
    NetworkOption,
    Option,
    SectionedCommand,
    find_model,
    paper_of,
)
from ..output import Console, plan_output, spell_question
from ..run import Entries, PictureFiles, open_model, plan_first, run

__all__ = ["compare", "read_settings", "split_names"]


TRUTHS = {"yes": True, "true": True, "on": True, "no": False, "false": False, "off": False}


def run_compare(**values: Any) -> None:
    """Ask several methods about every picture and write their maps side by side.

    Args:
        **values: What the command line gave.
    """
    values["methods"], values["layers"] = (split_names(values[name]) for name in ("methods", "layers"))
    values["settings"] = read_settings(values, [load(name) for name in values["methods"]])
    look = _read_look(values)
    first, *others = _split_networks(values)
    named = _split_name(values["name"], 1 + len(others))
    values["name"] = named[0]
    pictures = PictureFiles({**values, "model": first})
    out, force, question = values["out"], values["force"], spell_question(values)
    planned = plan_first(
        lambda: plan_output(pictures.files, "compare", out, force=force, singly=False, asked=question),
        pictures.model,
        values,
    )

    def ask(model: cnnviz.Model, batch: list[cnnviz.Sample]) -> cnnviz.Comparison:
        more = (open_model({**values, "model": name, "name": own}) for name, own in zip(others, named[1:], strict=True))
        networks = [model, *more] if others else model
        settings = {"layers": values["layers"], "sort": values["sort"], **values["settings"]}
        return cnnviz.compare(networks, batch, values["methods"], values["target"], **settings)

    def write(console: Console, numbers: list[int], found: cnnviz.Comparison) -> Entries:
        console.name_files(planned.save(found, **look))
        for row, number in enumerate([numbers[place] for place in found.order] or numbers):
            maps = {name: each[row].describe() for name, each in found.items()}
            yield {"image": str(pictures.files[number]), "output": str(planned.files[0]), "maps": maps}

    run(pictures, values, ask, write, at_once=len(pictures.files))


def _split_networks(values: Mapping[str, Any]) -> list[str]:
    """The networks that were named, with several options or with commas."""
    names = [name for given in values["model"] for name in split_names(given)]
    if not names:
        raise UsageError("Name a network with --model, or several with commas between.")
    if len(names) > 1 and values["weights"] is not None and values["weights"].lower() != "none":
        raise UsageError("One weights file does not fit several networks; leave out --weights.")
    return names


def _split_name(name: str | None, count: int) -> list[str | None]:
    """What to call each network; of several the names have commas between."""
    if name is None or count == 1:
        return [name] * count
    names = split_names(name)
    if len(names) != count:
        raise UsageError(f"--name gives {len(names)} of {count} names; write one per network, with commas between.")
    return list(names)


def _read_look(values: Mapping[str, Any]) -> dict[str, Any]:
    return {"shared": values["shared"], "down": values["down"], **paper_of(values)}


def split_names(text: str | None) -> list[str]:
    """Names of one text with commas between them."""
    return [name.strip() for name in (text or "").split(",") if name.strip()]


def read_settings(values: Mapping[str, Any], methods: Sequence[Method[Any, Any]]) -> dict[str, Any]:
    """Settings for every method that has them: the layer, the batch size, and what --set names.

    Args:
        values: What the command line gave.
        methods: The methods.

    Raises:
        UsageError: If there is no such setting, or no such value of it.
    """
    found = {name: values[name] for name in ("layer", "batch_size") if values[name] is not None}
    for given in values["set"]:
        name, mark, text = given.partition("=")
        if not mark:
            raise UsageError(f"'{given}' is not a setting; write NAME=VALUE, such as window=48.")
        name = name.strip().replace("-", "_")
        known = {key: one for method in methods for key, one in method.parameters.items()}
        if name not in known:
            raise UnknownNameError("setting", name, known, "'cnnviz METHOD --help' lists a method's settings.")
        found[name] = known[name].check(_convert_value(known[name].kind, text.strip()))
    return found


def _convert_value(kind: type, text: str) -> Any:
    """A setting's value from the words of the command line; what is none goes on as text and is refused there."""
    if kind is bool:
        return TRUTHS.get(text.lower(), text)
    convert: Callable[[str], Any] = str if issubclass(kind, PerAxis) else kind
    try:
        return convert(text)
    except ValueError:
        return text


compare = SectionedCommand(
    "compare",
    params=[
        click.Argument(["images"], metavar="IMAGE...", nargs=-1, required=True),
        Option(
            "--methods", metavar="NAME,NAME", required=True, section="Method",
            help="Methods that draw maps, separated by commas, such as gradcam,layercam,cam.",
        ),
        TARGET, TRUTH,
        Option(
            "--sort", type=click.Choice(["mistakes"]), section="Method",
            help="mistakes: wrong answers first, the most confident at the top (with --truth).",
        ),
        Option("--layer", metavar="NAME", section="Method", help="Layer, for every method that uses one."),
        Option(
            "--layers", metavar="NAME,NAME", section="Method",
            help="Layers to compare, one row each; with a single method one column each.",
        ),
        Option("--batch-size", type=click.IntRange(1), section="Method", help="Batch size."),
        Option(
            "--set", multiple=True, metavar="NAME=VALUE", section="Method",
            help="A setting such as window=48, for every method that has it; repeat it for several.",
        ),
        NetworkOption(
            "--model", multiple=True, metavar="NAME", callback=find_model,
            help="The network; several, separated by commas or by repeating the option, are compared.",
        ),
        *NETWORK[1:], SEED,
        Option(
            "--shared-scale", "shared", is_flag=True, section="Drawing",
            help="Use one colour range for all pictures, per method, network and layer.",
        ),
        Option("--down", is_flag=True, section="Drawing", help="One row per method, one column per picture."),
        *FIGURE,
        *OUTPUT,
    ],
    callback=run_compare,
    help="Compare methods, networks or layers side by side, one row per picture.\n\n"
    + IMAGES_HELP.format(more=""),
)  # fmt: skip

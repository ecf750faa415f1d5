"""``cnnviz explore``."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from typing import Any

import click

import cnnviz
from cnnviz.errors import PictureError, visible

from ..errors import FAILED, say_error
from ..options import NETWORK, QUIET, SEED, NetworkOption, Option, SectionedCommand
from ..output import echo
from ..run import AT_ONCE, PictureFiles, open_model

__all__ = ["explore"]

HOME = "127.0.0.1"
BUNDLED = "shapes-resnet"


def run_explore(**values: Any) -> None:
    """Serve the explorer until it is interrupted.

    Args:
        **values: What the command line gave.
    """
    names = [name.strip() for name in (values["model"] or BUNDLED).split(",") if name.strip()]
    networks = [open_model({**values, "model": name}) for name in names]
    pictures, failures = _read_pictures({**values, "model": names[0]})
    explorer = cnnviz.explore(
        networks,
        pictures,
        data=values["data"],
        index=values["index"],
        host=values["host"],
        port=values["port"],
        hosts=values["allow_host"],
        commands=[_spell_command(name, values) for name in names],
    )
    try:
        if not explorer.local:
            _warn_of_others(explorer, values["host"])
        echo(explorer.url)
        _say(["Ctrl-C stops it"], values)
        if not values["no_open"]:
            explorer.open()
        explorer.wait()
    except KeyboardInterrupt:
        _say(["stopped; the network is as it was"], values)
    finally:
        explorer.stop()
    if failures:
        click.get_current_context().exit(FAILED)


def _say(notes: Iterable[str], values: Mapping[str, Any]) -> None:
    """Say on stderr what there is to know, at once."""
    for note in () if values["quiet"] else notes:
        echo(f"note: {visible(note)}", err=True)


def _read_pictures(values: Mapping[str, Any]) -> tuple[list[cnnviz.Sample] | None, list[str]]:
    """The pictures that were given, None for none, and a sentence for each that cannot be read.

    Raises:
        PictureError: If none of them can.
    """
    if not values["images"]:
        return None, []
    files = PictureFiles(values)
    found = [picture for batch in files.batches(AT_ONCE) for _, picture in batch]
    if not found:
        raise PictureError(files.failures[0])
    _say(files.notes, values)
    for sentence in files.failures:
        say_error(sentence)
    return found, files.failures


def _warn_of_others(explorer: cnnviz.Explorer, host: str) -> None:
    """Say what listening to other machines means, and what is better."""
    sentence = (
        f"warning: {host} can be reached by other machines, and what they send and get is not encrypted; better leave "
        f"--host out, and on your own machine run: ssh -N -L {explorer.port}:{HOME}:{explorer.port} THIS-MACHINE"
    )
    echo(sentence, err=True)


def _spell_command(name: str, values: Mapping[str, Any]) -> str:
    """The options that open a network again, as they were given."""
    words = ["--model", name]
    context = click.get_current_context()
    for option in (*NETWORK[1:], SEED):
        key = str(option.name)
        given = values.get(key)
        if given is None or context.get_parameter_source(key) is click.core.ParameterSource.DEFAULT:
            continue
        words += [option.opts[-1], *([] if given is True else [_spell_value(key, given)])]
    return shlex.join(words)


def _spell_value(key: str, given: Any) -> str:
    if isinstance(given, (list, tuple)):
        return ("x" if key in ("input_size", "grid", "spacing") else ",").join(f"{each:g}" for each in given)
    return str(given)


explore = SectionedCommand(
    "explore",
    params=[
        click.Argument(["images"], metavar="[IMAGE]...", nargs=-1, required=False),
        NetworkOption(
            "--model", metavar="NAME[,NAME]",
            help="A network, or two with a comma between to see them side by side: names as all commands take them; "
            f"default: {BUNDLED}, with drawn scenes.",
        ),
        *NETWORK[1:], SEED,
        Option(
            "--data", metavar="SOURCE", section="Data",
            help="A data set, as in 'cnnviz patches': its pictures, and top patches of units.",
        ),
        Option("--index", metavar="FOLDER", section="Data", help="An index that 'cnnviz patches --index' wrote."),
        Option("--no-open", is_flag=True, section="Server", help="Print the address without opening a browser."),
        Option(
            "--port", type=click.IntRange(0, 65535), default=0, section="Server", metavar="N",
            help="The port; default: a free one.", show_default=False,
        ),
        Option(
            "--host", metavar="ADDRESS", default=HOME, section="Server",
            help="Where to listen. Others than this machine can then ask too; an ssh tunnel is better.",
        ),
        Option(
            "--allow-host", metavar="NAME", multiple=True, section="Server",
            help="A name that it is reached by besides, such as that of a notebook server before it.",
        ),
        QUIET,
    ],
    callback=run_explore,
    help="Explore a network and pictures live in the browser: classes, maps, layers, units.\n\nIMAGE is a picture "
    "file, or a folder of them. Needs the optional libraries of pip install 'cnnviz[explore]'. Ctrl-C stops it.",
)  # fmt: skip

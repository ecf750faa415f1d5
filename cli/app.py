"""The command ``cnnviz``: a command for every method of the catalogue, and a few of its own; loaded when called."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

import cnnviz
from cnnviz.catalogue import CATALOGUE, command_name
from cnnviz.errors import UnknownNameError

from .errors import FAILED, describe_refusal, end_as_sentence, say_error, shown_safely

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

__all__ = ["main"]

OWN = {
    "demo": (
        "commands.demo",
        "Run every method once on the bundled networks, and write a report.",
    ),
    "predict": (
        "commands.predict",
        "The network's predictions: classes with probabilities, segmented areas or detected boxes.",
    ),
    "compare": (
        "commands.compare",
        "Compare methods, networks or layers side by side, one row per picture.",
    ),
    "evaluate": (
        "commands.evaluate",
        "How good maps are: metrics with intervals, beside controls that know nothing.",
    ),
    "audit": (
        "commands.audit",
        "A whole data set with true classes: where the network is wrong, how sure it is, and what it looks at.",
    ),
    "report": (
        "commands.report",
        "One page about a network and a few pictures: predictions, maps, units, layers.",
    ),
    "explore": (
        "commands.explore",
        "Explore a network and pictures live in the browser: classes, maps, layers, units.",
    ),
    "merge": (
        "commands.patches",
        "Merge the results of several jobs (--shard I/N) into one index or one store of maps.",
    ),
    "models": ("commands.lists", "List the networks that can be opened by name."),
    "layers": ("commands.lists", "List a network's layers with output shapes, weights and receptive fields."),
    "methods": ("commands.lists", "List the methods with their costs and papers."),
    "info": ("commands.record", "Show the record inside a file: how it was made."),
    "rerun": (
        "commands.record",
        "Reproduce a file from the record inside it, and say whether it is identical, byte for byte.",
    ),
}
"""The commands that are no methods: their module, and their help's first sentence."""

APART: dict[str, str] = {
    "maximize": "commands.maximize",
    "patches": "commands.patches",
    "filters": "commands.units",
    "features": "commands.units",
}
"""Methods whose command is not one picture in, one map out: the module with the command of that name."""


def open_standard_streams() -> None:
    """Where a stream was closed, as ``2>&-`` does, what goes there goes nowhere, and not into the next file opened."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w" if number else "r", closefd=False))  # noqa: SIM115


class Application(click.Group):
    """The group of all commands; listing and completing their names loads none of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Names of all commands: its own, then the catalogue's."""
        return [*OWN, *map(command_name, CATALOGUE)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Load one command; None if there is none of that name."""
        if cmd_name in OWN or cmd_name in APART:
            where = OWN[cmd_name][0] if cmd_name in OWN else APART[cmd_name]
            command = getattr(import_module(f".{where}", __package__), cmd_name)
            assert isinstance(command, click.Command)
            return command
        if cmd_name in map(command_name, CATALOGUE):
            from .commands.method import method_command

            return method_command(cmd_name)
        return None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the arguments begin with; ``captum:Lime`` is ``captum --algorithm Lime``.

        Raises:
            UnknownNameError: If there is none; the message offers the nearest names.
        """
        name, mark, algorithm = args[0].partition(":")
        if mark and name == "captum":
            args = [name, "--algorithm", algorithm, *args[1:]]
        names = self.list_commands(ctx)
        if args[0] not in names and args[0][:1].isalnum() and not ctx.resilient_parsing:
            raise UnknownNameError("command", args[0], names, "'cnnviz --help' lists them all.")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List all commands by family, with the catalogue's summaries."""
        families: dict[str, list[tuple[str, str]]] = {"Commands": [(name, text) for name, (_, text) in OWN.items()]}
        for name, entry in CATALOGUE.items():
            families.setdefault(entry.family, []).append((command_name(name), entry.summary))
        for family, rows in families.items():
            with formatter.section(family):
                formatter.write_dl(rows)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete names of commands without loading them, and the group's own options."""
        from click.shell_completion import CompletionItem

        helps = {name: text for name, (_, text) in OWN.items()}
        helps |= {command_name(name): entry.summary for name, entry in CATALOGUE.items()}
        names = [CompletionItem(name, help=text) for name, text in helps.items() if name.startswith(incomplete)]
        return names + click.Command.shell_complete(self, ctx, incomplete)

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run the program; also where its help or version cannot be written, that is a sentence.

        What a notebook's shell says about matplotlib's backend is not for this process, which needs none.
        """
        os.environ.pop("MPLBACKEND", None)
        open_standard_streams()
        try:
            return super().main(*args, **extra)
        except OSError as error:
            sentence = describe_refusal(error)
            if sentence is None:
                raise
            say_error(sentence)
            sys.exit(FAILED)

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        """The context of the program's own options; what is wrong with them is said without obeying it."""
        with shown_safely():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; what goes wrong becomes a sentence and an exit code."""
        with end_as_sentence(ctx, debug=bool(ctx.params["debug"])):
            return super().invoke(ctx)


@click.group(
    cls=Application,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Start with 'cnnviz demo'. 'cnnviz COMMAND --help' explains a command.",
)
@click.option("--debug", is_flag=True, envvar="CNNVIZ_DEBUG", help="Show where in the code an unexpected error arose.")
@click.version_option(cnnviz.__version__, message="cnnviz %(version)s")
def main(debug: bool) -> None:
    """Show what a trained CNN has learnt, and explain its predictions."""

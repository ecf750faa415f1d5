"""``python -m cnnviz``: the same as the command ``cnnviz``, also in a checkout that is not installed."""

import sys
import tomllib
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

import cnnviz
from cnnviz.errors import describe_missing

PROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"
"""The project's settings in a checkout; an installed package has none beside it."""


def find_command() -> EntryPoint | None:
    """The command's entry point: the checkout's own, or that of the installed package; None if there is neither.

    In a checkout the command line's package lies beside the library's, and inside it where it is installed.
    """
    group, name = "console_scripts", "cnnviz"
    project = tomllib.loads(PROJECT.read_text("utf-8")).get("project", {}) if PROJECT.is_file() else {}
    scripts = project.get("scripts", {})
    if name in scripts:
        cnnviz.__path__.append(str(PROJECT.parent))
        return EntryPoint(name, scripts[name], group)
    return next(iter(entry_points(group=group, name=name)), None)


def main() -> None:
    """Run the command; where it or a package that it needs is not there, that is a sentence."""
    command = find_command()
    if command is None:
        sys.exit("Error: The command line is not installed; 'pip install cnnviz' installs it.")
    try:
        run = command.load()
    except ModuleNotFoundError as error:
        sys.exit(f"Error: {describe_missing(error)}")
    run(prog_name="cnnviz")


if __name__ == "__main__":
    main()

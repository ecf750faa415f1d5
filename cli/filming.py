"""A method's command on a clip: ``cnnviz gradcam --model ... clip.mp4 -o out.mp4``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

import cnnviz
from cnnviz.catalogue import command_name
from cnnviz.errors import OutputError, UsageError
from cnnviz.registry import Method

from .inputs import open_model
from .output import Report, ensure_folder, make_folder, print_json

__all__ = ["film", "is_filmed"]

ANIMATED = (".gif", ".mp4")


def is_filmed(values: Mapping[str, Any]) -> bool:
    """Whether a clip is asked about: its own ending says so, or that of what is to be written."""
    from cnnviz.images.clips import VIDEO_SUFFIXES, is_clip

    ending, images = Path(values["out"] or "").suffix.lower(), values["images"]
    if ending in ANIMATED:
        return True
    if ending == ".webp" and len(images) == 1:
        return is_clip(images[0])
    return any(image.lower().endswith(VIDEO_SUFFIXES) for image in images)


def film(method: Method[Any, Any], values: Mapping[str, Any]) -> None:
    """Explain every frame of a clip and write the maps as a clip.

    Args:
        method: The method.
        values: What the command line gave.
    """
    clip, *others = values["images"]
    if others:
        raise UsageError(f"A video is made of one clip at a time; got {len(values['images'])} files.")
    targets = values.get("target") or (None,)
    if len(targets) > 1:
        raise UsageError(f"A video explains one target at a time; got {len(targets)}.")
    where = _place(Path(clip), command_name(method.name), values["out"])
    if where.exists() and not values["force"]:
        raise OutputError(f"'{where}' exists already; add --force to replace, or choose another place with -o.")
    report = Report(1, quiet=values["quiet"], silent=values["as_json"])
    settings = {name: values[name] for name in method.parameters}
    with closing(report):
        with report.over(1):
            made = cnnviz.video(
                open_model(values), clip, method, targets[0], where, look=_look(method, values), **settings
            )
        report.wrote([where])
        report.note(made.checks)
    if values["as_json"]:
        print_json({"clip": clip, "output": str(where), **made.describe()})


def _place(clip: Path, command: str, out: str | None) -> Path:
    """Where the film goes; a folder for it is made once it is known that the clip can be read."""
    if out is not None and not out.endswith(("/", os.sep)) and not Path(out).is_dir():
        return Path(out)
    folder = Path(out or "")
    from cnnviz.images.clips import is_clip

    if not is_clip(clip):
        raise UsageError(f"'{clip}' is no clip.")
    ensure_folder(folder)
    make_folder(folder)
    return folder / f"{clip.stem}.{command}.mp4"


def _look(method: Method[Any, Any], values: Mapping[str, Any]) -> cnnviz.Look:
    """The method's usual look on a clip, but for what was asked for."""
    from cnnviz.methods.filming import usual_look

    context = click.get_current_context()
    usual = (ParameterSource.DEFAULT, ParameterSource.DEFAULT_MAP)
    names = ("style", "cmap", "normalise", "align", "alpha")
    given = {name: values[name] for name in names if name in values and context.get_parameter_source(name) not in usual}
    return replace(usual_look(method), **given)

"""The command of a method: pictures in, maps out."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

import cnnviz
from cnnviz.catalogue import command_name, load
from cnnviz.errors import OutputError, UsageError
from cnnviz.method import Method

from ..arguments import AT_ONCE, Given, open_model
from ..options import LOOK, NETWORK, OUTPUT, SEED, TARGETS, Sectioned, setting
from ..output import Places, Report, ensure_folder, make_folder, plan, print_json

__all__ = ["method_command", "film", "is_filmed"]

ANIMATED = (".gif", ".mp4")


def is_filmed(values: Mapping[str, Any]) -> bool:
    """Whether a clip is asked about: its own ending says so, or that of what is to be written."""
    from cnnviz.images.video import VIDEO_SUFFIXES, is_clip

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
    from cnnviz.images.video import is_clip

    if not is_clip(clip):
        raise UsageError(f"'{clip}' is no clip.")
    ensure_folder(folder)
    make_folder(folder)
    return folder / f"{clip.stem}.{command}.mp4"


def _look(method: Method[Any, Any], values: Mapping[str, Any]) -> cnnviz.Look:
    """The method's usual look on a clip, but for what was asked for."""
    from cnnviz.methods.video import usual_look

    context = click.get_current_context()
    usual = (ParameterSource.DEFAULT, ParameterSource.DEFAULT_MAP)
    names = ("style", "cmap", "normalise", "align", "alpha")
    given = {name: values[name] for name in names if name in values and context.get_parameter_source(name) not in usual}
    return replace(usual_look(method), **given)


LOOKS = ("style", "cmap", "normalise", "shared", "align")


@cache
def method_command(name: str) -> click.Command:
    """The command of a method of the catalogue, its options derived from the method's signature.

    Args:
        name: The command's name.
    """
    method = load(name)
    parameters: list[click.Parameter] = [click.Argument(["images"], metavar="IMAGE...", nargs=-1, required=True)]
    parameters += [TARGETS] if "target" in method.needs else []
    parameters += [setting(parameter) for parameter in method.parameters.values()]
    parameters += [*NETWORK, *([] if "seed" in method.parameters else [SEED])]
    parameters += [*(LOOK if method.singly else []), *OUTPUT]
    reference = f"\n\nReference: {method.reference}" if method.reference else ""
    clip = "; or a clip such as an .mp4, which gives an .mp4, .gif or .webp" if method.singly else ""
    return Sectioned(
        name,
        params=parameters,
        callback=partial(explain, name),
        help=f"{method.summary}\n\nIMAGE is a picture file, or a folder of them{clip}.{reference}",
        short_help=method.summary,
    )


def explain(name: str, **values: Any) -> None:
    """Run a method on the pictures and write what it finds.

    Args:
        name: The method's command.
        **values: What the command line gave.
    """
    method = load(name)
    if method.singly and is_filmed(values):
        film(method, values)
        return
    given = Given(values["images"])
    singly = method.singly and not _is_browsing(values)
    places = plan(given.files, command_name(method.name), values["out"], force=values["force"], singly=singly)
    look = {name: values[name] for name in LOOKS} if singly else {}
    cnnviz.Look(**look)
    across = max(1, len(values.get("target", ())))
    _ensure_one_scale(places, across, values)
    at_once = len(given.files) if places.together or values.get("shared") else values.get("batch_size") or AT_ONCE
    report = Report(len(given.files), quiet=values["quiet"], silent=values["as_json"])
    entries: list[dict[str, Any]] = []
    with closing(report):
        for numbers, result in given.ask(partial(_ask, method, values), values, report, at_once=at_once):
            files = [places.files[number] for number in numbers]
            make_folder(files[0].parent)
            report.wrote([result.save(files[0], **look)] if places.together else _save(result, files, across, look))
            if values["as_json"]:
                entries += _entries([str(given.files[number]) for number in numbers], files, result, singly=singly)
    if values["as_json"]:
        print_json(entries)
    if given.say_failures():
        click.get_current_context().exit(1)


def _ensure_one_scale(places: Places, across: int, values: Mapping[str, Any]) -> None:
    """Refuse one scale for the maps of several files with several maps each.

    Raises:
        UsageError: If it is asked for.
    """
    if across > 1 and values.get("shared") and len(places.files) > 1 and not places.together:
        raise UsageError("One scale for several targets of several pictures needs one file: name it with -o FILE.")


def _save(result: Any, files: Sequence[Path], across: int, look: Mapping[str, Any]) -> Sequence[Path]:
    """Write a file a picture, with as many maps as there are targets."""
    if across == 1:
        written: Sequence[Path] = result.save_each(files, **look)
        return written
    parts = (result[start : start + across] for start in range(0, len(result), across))
    return [part.save(file, **look) for part, file in zip(parts, files, strict=True)]


def _is_browsing(values: Mapping[str, Any]) -> bool:
    """Whether units of a layer are asked for, which all pictures together answer."""
    return "units" in values and (values["units"] is not None or values["layer"] is not None)


def _ask(
    method: Method[Any, Any], values: Mapping[str, Any], model: cnnviz.Model, pictures: list[cnnviz.Picture]
) -> Any:
    settings = {name: values[name] for name in method.parameters}
    if "target" not in method.needs:
        return method(model, pictures, **settings)
    targets = list(values["target"])
    if len(targets) < 2:
        return method(model, pictures, targets[0] if targets else None, **settings)
    repeated = [picture for picture in pictures for _ in targets]
    return method(model, repeated, targets * len(pictures), **settings)


def _entries(images: list[str], files: list[Path], result: Any, *, singly: bool) -> list[dict[str, Any]]:
    if not singly:
        return [{"images": images, "output": str(files[0]), **result.describe()}]
    across = len(result) // len(images)
    return [
        {"image": images[number // across], "output": str(files[number // across]), **one.describe()}
        for number, one in enumerate(result)
    ]

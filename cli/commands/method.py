"""The command of a method: pictures in, maps out."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

import cnnviz
from cnnviz.catalogue import command_name, load
from cnnviz.core.atomic import make_folder
from cnnviz.core.dimensions import PICTURE, VOLUME
from cnnviz.core.similar import PAIR
from cnnviz.errors import PictureError, UsageError
from cnnviz.method import Method

from ..options import (
    FIGURE,
    IMAGES_HELP,
    LOOK,
    NETWORK,
    OUTPUT,
    SEED,
    TARGETS,
    TRUTH,
    SectionedCommand,
    paper_of,
    setting_option,
)
from ..output import Console, OutputPlan, ensure_folder, ensure_free, is_folder, plan_output, spell_question
from ..run import Entries, PictureFiles, batch_of, is_first_process, plan_first, run
from .data_set import (
    DATA_SET,
    DATA_SET_HELP,
    draw_files,
    ensure_no_store_options,
    names_data_set,
    run_on_data_set,
    unfinished_in,
)

__all__ = ["method_command", "film", "is_filmed"]

ANIMATED, PAIR_SIZE = (".gif", ".mp4"), 2
LOOKS = ("style", "transparent", "cmap", "normalise", "shared", "align", "slices", "axis")
OF_VOLUMES = (".nii", ".nii.gz", ".gif", ".mp4")
"""What maps of volumes can be written as besides."""

UNSEEN = ("shapes:", "hf:")
"""How data sets begin that no clip can be."""


def is_filmed(values: Mapping[str, Any]) -> bool:
    """Whether a clip is asked about: its own ending says so, or that of what is to be written."""
    from cnnviz.images.video import VIDEO_SUFFIXES, is_clip

    ending, images = Path(values["out"] or "").suffix.lower(), values["images"]
    if ending in ANIMATED:
        return True
    if ending == ".webp" and len(images) == 1:
        return is_clip(images[0])
    return any(image.lower().endswith(VIDEO_SUFFIXES) for image in images)


def film(method: Method[Any, Any], values: Mapping[str, Any], model: Callable[[], cnnviz.Model]) -> None:
    """Explain every frame of a clip and write the maps as a clip.

    Args:
        method: The method.
        values: What the command line gave.
        model: Opens the network.
    """
    clip, *others = values["images"]
    if others:
        raise UsageError(f"A video is made of one clip at a time; got {len(values['images'])} files.")
    targets = values.get("target") or (None,)
    if len(targets) > 1:
        raise UsageError(f"A video explains one target at a time; got {len(targets)}.")
    file = _plan_film(Path(clip), f"{command_name(method.name)}{spell_question(values)}", values["out"])
    plan_first(lambda: ensure_free([file], force=values["force"]), model, values)
    settings = {name: values[name] for name in method.parameters}
    with Console(1, values) as console:
        with console.progress(1):
            made = cnnviz.video(model(), clip, method, targets[0], file, look=_choose_look(method, values), **settings)
        console.name_files([file])
        console.note(made.checks)
        console.document = {"clip": clip, "output": str(file), **made.describe()}


def _plan_film(clip: Path, command: str, out: str | None) -> Path:
    """The file of the film; a folder for it is made once it is known that the clip can be read."""
    if out is not None and not out.endswith(("/", os.sep)) and not Path(out).is_dir():
        return Path(out)
    folder = Path(out or "")
    from cnnviz.images.video import is_clip

    if not is_clip(clip):
        raise UsageError(f"'{clip}' is not a clip.")
    ensure_folder(folder)
    make_folder(folder)
    return folder / f"{clip.stem}.{command}.mp4"


def _choose_look(method: Method[Any, Any], values: Mapping[str, Any]) -> cnnviz.Look:
    """The method's usual look on a clip, but for what was asked for."""
    from cnnviz.methods.video import usual_look

    context = click.get_current_context()
    usual = (ParameterSource.DEFAULT, ParameterSource.DEFAULT_MAP)
    names = ("style", "cmap", "normalise", "align", "alpha")
    given = {name: values[name] for name in names if name in values and context.get_parameter_source(name) not in usual}
    return replace(usual_look(method), **given)


@cache
def method_command(name: str) -> click.Command:
    """The command of a method of the catalogue, its options derived from the method's signature.

    Args:
        name: The command's name.
    """
    method = load(name)
    parameters: list[click.Parameter] = [click.Argument(["images"], metavar="IMAGE...", nargs=-1, required=True)]
    parameters += [TARGETS, TRUTH] if "target" in method.needs else []
    parameters += [setting_option(parameter) for parameter in method.parameters.values()]
    parameters += [*NETWORK, *([] if "seed" in method.parameters else [SEED])]
    parameters += [*((*DATA_SET, *LOOK) if method.singly else []), *FIGURE, *OUTPUT]
    reference = f"\n\nReference: {method.reference}" if method.reference else ""
    clip = "; or a clip such as an .mp4, which gives an .mp4, .gif or .webp" if method.singly else ""
    return SectionedCommand(
        name,
        params=parameters,
        callback=partial(run_method, name),
        help=f"{method.summary}\n\n{IMAGES_HELP.format(more=clip)}{DATA_SET_HELP if method.singly else ''}{reference}",
        short_help=method.summary,
    )


def run_method(name: str, /, **values: Any) -> None:
    """Run a method on the pictures and write what it finds.

    Args:
        name: The method's command.
        **values: What the command line gave.
    """
    method = load(name)
    filmed = is_filmed(values) and not values["images"][0].startswith(UNSEEN)
    if method.singly and names_data_set(values) and not filmed:
        run_on_data_set(method, values)
        return
    if method.singly:
        ensure_no_store_options()
    pictures = PictureFiles(values)
    if method.singly and is_filmed(values) and pictures.places == PICTURE:
        film(method, values, pictures.model)
        return
    paired = PAIR in values.get("target", ())
    if paired:
        values["out"] = _plan_pair(pictures, name, values)
    singly = method.singly and not _is_browsing(values)
    more = OF_VOLUMES if singly and _is_of_volumes(pictures, values["out"]) else ()
    command, asked = command_name(method.name), "" if paired else spell_question(values)
    blocked = singly and not (paired or values.get("shared")) and _is_shared_out(pictures, values)

    def plan() -> OutputPlan:
        where, force = values["out"], values["force"] or (blocked and unfinished_in(Path(values["out"] or "")))
        return plan_output(pictures.files, command, where, force=force, singly=singly, more=more, asked=asked)

    planned = plan_first(plan, pictures.model, {**values, "target": () if paired else values.get("target")})
    look = {name: values[name] for name in LOOKS} if singly else {}
    cnnviz.Look(**look)
    paper = paper_of(values)
    across = max(1, len(values.get("target", ())))
    _ensure_one_scale(planned, across, values)
    if values.get("transparent"):
        _ensure_alone(planned, across, len(pictures.files), paper)

    def ask(model: cnnviz.Model, shown: list[cnnviz.Sample]) -> Any:
        if paired:
            _refuse_failures(pictures)
        return _ask(method, values, model, shown)

    def write(console: Console, numbers: list[int], result: Any) -> Entries:
        console.name_files(planned.save(result, numbers, across=across, **look, **paper))
        if not values["as_json"]:
            return ()
        files = [str(planned.files[number]) for number in numbers]
        return _entries([str(pictures.files[number]) for number in numbers], files, result, singly=singly)

    if blocked and not planned.together:
        draw_files(method, values, pictures, planned)
        return
    if values.get("shard") is not None:
        raise UsageError("--shard is for pictures that have a file each; name a folder with -o.")
    if not is_first_process():  # what cannot be shared is drawn by one of them
        return
    at_once = len(pictures.files) if planned.together or paired or values.get("shared") else batch_of(values)
    run(pictures, values, ask, write, at_once=at_once)


def _is_shared_out(pictures: PictureFiles, values: Mapping[str, Any]) -> bool:
    """Whether they are a data set: a folder, more than are asked about at once, or shared with other processes."""
    several = any(is_folder(image) for image in values["images"]) or len(pictures.files) > batch_of(values)
    return bool(pictures.files) and (several or "RANK" in os.environ or values["shard"] is not None)


def _is_of_volumes(pictures: PictureFiles, out: str | None) -> bool:
    """Whether a file is asked for that only maps of volumes can be written as, and the network takes these."""
    return bool(out) and str(out).lower().endswith(OF_VOLUMES) and pictures.places == VOLUME


def _plan_pair(pictures: PictureFiles, command: str, values: Mapping[str, Any]) -> str:
    """Where two pictures go that are each explained towards the other: one file, unless another place is named.

    Raises:
        UsageError: If there are not two pictures, or other targets too.
        PictureError: If one of them cannot be used.
    """
    _refuse_failures(pictures)
    if len(pictures.files) != PAIR_SIZE or len(values["target"]) > 1:
        others = f" and {len(values['target'])} targets" if len(values["target"]) > 1 else ""
        raise UsageError(f"'{PAIR}' alone explains two pictures; got {len(pictures.files)}{others}.")
    return values["out"] or f"{'-'.join(file.stem for file in pictures.files)}.{command}.png"


def _refuse_failures(pictures: PictureFiles) -> None:
    """Refuse a pair of which one picture cannot be used."""
    if pictures.failures:
        raise PictureError(pictures.failures[0])


def _ensure_one_scale(planned: OutputPlan, across: int, values: Mapping[str, Any]) -> None:
    """Refuse one scale for the maps of several files with several maps each.

    Raises:
        UsageError: If it is asked for.
    """
    if across > 1 and values.get("shared") and len(planned.files) > 1 and not planned.together:
        raise UsageError("One scale for several targets of several pictures needs one file: name it with -o FILE.")


def _ensure_alone(planned: OutputPlan, across: int, count: int, paper: Mapping[str, Any]) -> None:
    """Refuse transparent maps that are not each a ``.png`` with the photograph's own pixels.

    Raises:
        UsageError: If several go into one file, the file is of another kind, or a figure's settings are given.
    """
    if across > 1 or (planned.together and count > 1):
        raise UsageError("--transparent writes one map per file; name a folder (-o FOLDER/) and a single --target.")
    if planned.files[0].suffix.lower() != ".png":
        raise UsageError(f"--transparent writes .png files, not '{planned.files[0].name}'.")
    if paper:
        option = next(str(each.opts[0]) for each in FIGURE if each.name in paper)
        raise UsageError(f"--transparent keeps the photograph's own pixels; leave out {option}.")


def _is_browsing(values: Mapping[str, Any]) -> bool:
    """Whether units of a layer are asked for, which all pictures together answer."""
    return "units" in values and (values["units"] is not None or values["layer"] is not None)


def _ask(
    method: Method[Any, Any], values: Mapping[str, Any], model: cnnviz.Model, pictures: list[cnnviz.Sample]
) -> Any:
    settings = {name: values[name] for name in method.parameters}
    if "target" not in method.needs:
        return method(model, pictures, **settings)
    targets = list(values["target"])
    if len(targets) < 2:
        return method(model, pictures, targets[0] if targets else None, **settings)
    repeated = [picture for picture in pictures for _ in targets]
    return method(model, repeated, targets * len(pictures), **settings)


def _entries(images: list[str], files: list[str], result: Any, *, singly: bool) -> Entries:
    if not singly:
        yield {"images": images, "output": files[0], **result.describe()}
        return
    across = len(result) // len(images)
    for number, one in enumerate(result):
        yield {"image": images[number // across], "output": files[number // across], **one.describe()}

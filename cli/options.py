"""Options: a method's settings as its signature has them, and those that commands share."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

import click

from cnnviz.core.dimensions import VOLUME
from cnnviz.core.untrusted import NUMBER
from cnnviz.errors import ParameterError, UsageError, visible
from cnnviz.lengths import PerAxis
from cnnviz.method import MOST_SEED, Parameter

__all__ = [
    "FIGURE",
    "paper_of",
    "places_of_objects",
    "FORCE",
    "JSON",
    "LOOK",
    "NETWORK",
    "OUT",
    "OUTPUT",
    "QUIET",
    "SEED",
    "TARGET",
    "TARGETS",
    "TRUTH",
    "NetworkOption",
    "Option",
    "SectionedCommand",
    "find_model",
    "setting_option",
]


class Option(click.Option):
    """An option that ``--help`` lists under a heading of its own.

    Args:
        *names: What the user writes.
        section: The heading.
        **more: What click's option takes.
    """

    def __init__(self, *names: str, section: str, **more: Any) -> None:
        flag = more.get("is_flag", False)
        super().__init__(list(names), **{"show_default": not flag and more.get("default") is not None, **more})
        self.section = section


class NetworkOption(Option):
    """An option that says something of the network, and reads its environment variable: ``CNNVIZ_MEAN`` for ``--mean``.

    Args:
        name: What the user writes.
        *more: The parameter's own name.
        **what: What click's option takes.
    """

    def __init__(self, name: str, *more: str, **what: Any) -> None:
        variable = f"CNNVIZ_{name.removeprefix('--').upper().replace('-', '_')}"
        super().__init__(name, *more, section="Network", envvar=variable, show_envvar=True, **what)


class SectionedCommand(click.Command):
    """A command whose ``--help`` lists its options under headings."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, heading by heading."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and isinstance(parameter, click.Option):
                sections.setdefault(getattr(parameter, "section", "Other"), []).append(record)
        for heading, records in sections.items():
            with formatter.section(heading):
                formatter.write_dl(records)


SIDE = r"0*[1-9]\d{0,5}"
"""A side of a picture in pixels, as a pattern: up to six digits."""
WORD = r"window|percentiles"
"""A range that is each volume's own, as a pattern."""
LENGTH = r"\d{1,6}(?:\.\d{1,6})?|\.\d{1,6}"
"""A length in millimetres, as a pattern."""


def read_list(_ctx: click.Context, _param: click.Parameter, value: str | None) -> tuple[float, ...] | None:
    """``"0.5,0.5,0.5"`` as a tuple."""
    try:
        return None if value is None else tuple(float(part) for part in value.split(","))
    except ValueError:
        raise click.BadParameter(f"'{value}' is not a list of numbers such as 0.485,0.456,0.406.") from None


def read_range(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[float, ...] | str | None:
    """``"0,4095"`` as the values that stand for 0 and 1; a word for those of each volume stays one."""
    if value is not None and re.fullmatch(WORD, value):
        return value
    found = read_list(context, parameter, value)
    if found is not None and (len(found) != 2 or not found[0] < found[1]):
        raise click.BadParameter(f"'{value}' is not a range such as 0,4095: a lower and a higher number.")
    return found


def read_size(_ctx: click.Context, _param: click.Parameter, value: str | None) -> int | tuple[int, ...] | None:
    """``"224"`` as the side of every axis; ``"240x320"`` as height and width, or three with the depth before."""
    if value is None:
        return None
    sides = value.lower().split("x")
    if len(sides) > VOLUME or not all(re.fullmatch(SIDE, side) for side in sides):
        raise click.BadParameter(
            f"'{value}' is not a size such as 224, 240x320 (height x width) or 64x128x128 (depth first)."
        )
    return int(sides[0]) if len(sides) == 1 else tuple(map(int, sides))


def read_grid(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    """``"7x7"`` as rows and columns; one number stands for both."""
    found = read_size(context, parameter, value)
    return (found, found) if isinstance(found, int) else found


def read_spacing(_ctx: click.Context, _param: click.Parameter, value: str | None) -> tuple[float, ...] | None:
    """``"1.5"`` or ``"5x0.7x0.7"`` as millimetres along slices, rows and columns."""
    if value is None:
        return None
    lengths = value.lower().split("x")
    if len(lengths) not in (1, VOLUME) or not all(re.fullmatch(LENGTH, each) and float(each) > 0 for each in lengths):
        raise click.BadParameter(
            f"'{value}' is not a spacing such as 1.5 or 5x0.7x0.7 (slices x rows x columns, in mm)."
        )
    return tuple(map(float, lengths))


def read_key(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | int | None:
    """A number as an index, any other text as a key."""
    return int(value) if value is not None and re.fullmatch(NUMBER, value) else value


def read_one_target(_ctx: click.Context, _param: click.Parameter, value: tuple[str, ...]) -> str | None:
    """The one target of a command that explains one; of several none is silently left out."""
    if len(value) > 1:
        raise click.BadParameter(f"this command explains one target; got {len(value)}.")
    return value[0] if value else None


def find_model(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
    """The network that was named, or else the file of the current folder that describes one, which is said.

    Raises:
        MissingParameter: If there is neither.
        UsageError: If that file cannot be read, or names code.
    """
    if value or context.resilient_parsing:
        return value
    from cnnviz.models.description import USUAL_FILE, read_unasked

    if not os.path.lexists(USUAL_FILE):
        raise click.MissingParameter(
            f"Give a network, or describe one in {USUAL_FILE} in the current folder.", context, parameter
        )
    said = read_unasked()
    more = f", {said['weights']}" if "weights" in said else ""
    click.echo(
        visible(f"note: the network is what '{USUAL_FILE}' in the current folder says: {said['model']}{more}"), err=True
    )
    return (USUAL_FILE,) if isinstance(value, tuple) else USUAL_FILE


IMAGES_HELP = (
    "IMAGE is a picture file, or a folder of them{more}. Networks of signals take .csv, .npy and .wav files, those of "
    "volumes .npy, NIfTI and .tif files and folders of slices or DICOM files."
)
"""What the argument of a command is; ``more`` are other pictures."""

TARGET = Option(
    "--target", metavar="WHAT", multiple=True, callback=read_one_target, section="Method",
    help="A class index, a label, 'LABEL - LABEL', a unit such as layer4:17, a region such as 'LABEL@X,Y' "
    "(segmentation), or 'similar:FILE' (embeddings); default: the predicted class.",
)  # fmt: skip
TARGETS = Option(
    "--target", metavar="WHAT", multiple=True, section="Method",
    help="A class index, a label, 'LABEL - LABEL', a unit such as layer4:17, a region such as 'LABEL@X,Y' "
    "(segmentation), or 'similar:FILE' (embeddings); default: the predicted class. "
    "Repeat it for several maps side by side.",
)  # fmt: skip
TRUTH = Option(
    "--truth", metavar="FILE|folders", section="Method",
    help="True classes, so that captions say what is right and wrong: a .csv table of pictures and classes, or "
    "'folders' if each picture lies in a folder of its class.",
)  # fmt: skip
NETWORK = (
    NetworkOption(
        "--model", metavar="NAME", callback=find_model,
        help="A name of 'cnnviz models', timm:NAME, PACKAGE.MODULE:FUNCTION, FILE.py:FUNCTION, FILE.pt2, or a "
        "FILE.toml that describes the network; default: cnnviz.toml in the current folder.",
    ),
    NetworkOption(
        "--weights", metavar="FILE",
        help="A .safetensors or .pth file, the name of a set of weights, or 'none' for random ones.",
    ),
    NetworkOption("--labels", metavar="FILE", help="A file of class names: one per line, or JSON."),
    NetworkOption("--mean", callback=read_list, metavar="R,G,B", help="Mean used for normalisation, per channel."),
    NetworkOption(
        "--std", callback=read_list, metavar="R,G,B",
        help="Standard deviation used for normalisation, per channel.",
    ),
    NetworkOption(
        "--input-size", callback=read_size, metavar="N|HxW|DxHxW",
        help="Input size in pixels; of a signal in samples, of a volume in slices, rows and columns.",
    ),
    NetworkOption(
        "--sampling-rate", type=click.FloatRange(0, min_open=True), metavar="HZ",
        help="Samples per second of signals (frames per second of clips) that the network was trained on.",
    ),
    NetworkOption(
        "--spacing", callback=read_spacing, metavar="MM|DxHxW",
        help="Voxel spacing, in millimetres, of the volumes that the network was trained on.",
    ),
    NetworkOption(
        "--standardise", is_flag=True, default=None,
        help="Standardise each channel of a signal or volume to mean 0 and standard deviation 1.",
    ),
    NetworkOption(
        "--range", "value_range", callback=read_range, metavar="LOW,HIGH",
        help="Pixel values that mean black and white, such as 0,4095; for volumes also 'window' (DICOM's) or "
        "'percentiles'; default: the range of the file's type, of 16-bit files the bits in use.",
    ),
    NetworkOption(
        "--logits", callback=read_key, metavar="KEY|FILE.py:FUNCTION",
        help="Which part of the output is the logits, if the network returns a dict, tuple or object: a key, an "
        "index, or a function that turns the output into (N, K).",
    ),
    NetworkOption(
        "--head", metavar="KIND",
        help="What the outputs mean: softmax (exclusive classes), sigmoid (independent labels), binary (one logit, "
        "two labels), probabilities, value or value:UNIT (regression); default: recognised automatically.",
    ),
    NetworkOption(
        "--embedding", metavar="LAYER",
        help="Layer whose output, averaged over positions, is the embedding for 'similar:FILE'; default: the "
        "network's output.",
    ),
    NetworkOption(
        "--grid", callback=read_grid, metavar="HxW",
        help="Rows and columns of the token grid, such as 7x7, if it cannot be recognised.",
    ),
    NetworkOption(
        "--name", metavar="TEXT", help="What to call the network in titles and captions; default: its own name."
    ),
    NetworkOption(
        "--device", default="auto", metavar="NAME",
        help="Device: auto (CUDA if available), cpu, cuda, cuda:1 or mps.",
    ),
)  # fmt: skip
SEED = NetworkOption("--seed", type=click.IntRange(0, MOST_SEED), default=0, help="Seed for random weights.")
FORCE = Option("--force", is_flag=True, section="Output", help="Replace existing files.")
JSON = Option("--json", "as_json", is_flag=True, section="Output", help="Print one JSON document on stdout.")
QUIET = Option("--quiet", "-q", is_flag=True, section="Output", help="Print no notes and no progress on stderr.")
OUT = Option(
    "--out", "-o", metavar="FILE|FOLDER/", section="Output",
    help="One .png, .jpg, .webp, .svg, .pdf or .npz file for everything, or a folder for one .png per picture; "
    "default: PICTURE.METHOD.png in the current folder.",
)  # fmt: skip
OUTPUT = (OUT, FORCE, JSON, QUIET)
LOOK = (
    Option(
        "--style", type=click.Choice(["panel", "overlay", "map"]), default="panel", section="Drawing",
        help="panel: photograph, overlay and colour bar; overlay or map: that alone.",
    ),
    Option(
        "--transparent", is_flag=True, section="Drawing",
        help="With --style map: a .png on the photograph's own pixels that is transparent where there is nothing to "
        "see.",
    ),
    Option(
        "--cmap", metavar="NAME", section="Drawing",
        help="A matplotlib colour map; default: inferno, for signed maps RdBu_r.",
    ),
    Option(
        "--normalise", type=click.Choice(["max", "minmax", "percentile", "none"]), section="Drawing",
        help="Colour range: from 0 to the maximum (max), from minimum to maximum (minmax), from 0 to the 99th "
        "percentile (percentile), or from 0 to 1 (none); default: max, for attributions of pixels percentile.",
    ),
    Option("--shared-scale", "shared", is_flag=True, section="Drawing", help="Use one colour range for all pictures."),
    Option(
        "--align", type=click.Choice(["field", "pixel"]), default="field", section="Drawing",
        help="field: values at the centres of the receptive fields; pixel: stretched evenly over the input, as other "
        "tools do.",
    ),
    Option(
        "--slices", type=click.IntRange(1), metavar="N", section="Drawing",
        help="Volumes: number of slices along an axis; default: three views through the map's peak.",
    ),
    Option(
        "--axis", type=click.Choice(["axial", "coronal", "sagittal", "0", "1", "2"]), section="Drawing",
        help="Volumes: the axis that slices are taken along; default: the first.",
    ),
)  # fmt: skip


def read_names(_ctx: click.Context, _param: click.Parameter, value: tuple[str, ...]) -> dict[str, str] | None:
    """``"gradcam=ours"``, several times, as new names by old ones."""
    pairs = [given.partition("=") for given in value]
    odd = next(
        (given for given, (name, mark, _) in zip(value, pairs, strict=True) if not (name.strip() and mark)), None
    )
    if odd is not None:
        raise click.BadParameter(f"'{odd}' renames nothing; write METHOD=TEXT, such as gradcam=ours.")
    return {name.strip(): text.strip() for name, _, text in pairs} or None


def read_columns(_ctx: click.Context, _param: click.Parameter, value: str | None) -> int | None:
    """``"1"`` or ``"2"`` as a number."""
    return None if value is None else int(value)


FIGURE = (
    Option(
        "--columns", type=click.Choice(["1", "2"]), callback=read_columns, section="Figure",
        help="As wide as one column of a paper (3.25 inches) or two (6.75).",
    ),
    Option(
        "--width", type=click.FloatRange(0.5, 60), metavar="INCHES", section="Figure",
        help="Instead of --columns: as wide as this.",
    ),
    Option(
        "--dpi", type=click.IntRange(72, 1200), metavar="N", section="Figure",
        help="Pixels per inch; default: 300 if a width is given.",
    ),
    Option(
        "--font", metavar="NAME", section="Figure", help="A font family that matplotlib finds, such as DejaVu Serif."
    ),
    Option(
        "--font-size", type=click.FloatRange(0, 72, min_open=True), metavar="PT", section="Figure",
        help="Size of ordinary text in points; default: 8.",
    ),
    Option(
        "--notes", type=click.Choice(["short", "full", "none"]), section="Figure",
        help="Below the figure: what changes how it must be read, in at most three lines (default), "
        "everything that there is to say, or nothing.",
    ),
    Option("--title", metavar="TEXT|none", section="Figure", help="A title of your own, or none."),
    Option(
        "--rename", metavar="METHOD=TEXT", multiple=True, callback=read_names, section="Figure",
        help="Another name for a method in headings and titles, such as gradcam=ours; can be given several times.",
    ),
)  # fmt: skip


def places_of_objects(section: str) -> tuple[Option, Option]:
    """The options that say where the objects of a data set's pictures are.

    Args:
        section: The section of the help that they stand in.
    """
    return (
        Option(
            "--masks", "mask_folder", metavar="FOLDER", section=section,
            help="A folder with a PNG mask for each picture, of the same name: 255 where the object is, 128 where "
            "nothing is counted, 0 elsewhere.",
        ),
        Option(
            "--boxes", metavar="FILE", section=section,
            help='Instead of masks: a JSON file, {"photo.jpg": [[LEFT, TOP, RIGHT, BOTTOM], ...]} or COCO\'s.',
        ),
    )  # fmt: skip


def paper_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """How a figure is set on paper, from what the command line gave; only what was given.

    Raises:
        UsageError: If --columns and --width are both given, or there is no such font or method.
    """
    from cnnviz.drawing.paper import Paper

    given = {name: values[name] for option in FIGURE if values.get(name := str(option.name)) is not None}
    if {"columns", "width"} <= set(given):
        raise UsageError("--columns and --width both say how wide it is; give one.")
    with Paper(**given).lettering():  # which finds the font
        return given


def setting_option(parameter: Parameter) -> click.Option:
    """A method's setting as an option: its kind, bounds, choices, default and help."""
    words = parameter.name.replace("_", "-")
    name = f"-{words}" if len(words) == 1 else f"--{words}"
    if parameter.kind is bool:
        name = f"{name}/--no-{words}"
    return Option(
        name,
        parameter.name,
        type=_option_type(parameter),
        default=parameter.default,
        help=parameter.help,
        section="Method",
    )


class AxesType(click.ParamType[int | str]):
    """A number for every axis of the input, as a setting of a method takes it."""

    def __init__(self, parameter: Parameter, kind: type[PerAxis]) -> None:
        self.name, self._parameter = kind.metavar, parameter

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """A number, or a text of several."""
        try:
            return self._parameter.check(value)
        except ParameterError as error:
            self.fail(str(error), param, ctx)

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:  # noqa: ARG002
        """What stands for it in the help."""
        return self.name


def _option_type(parameter: Parameter) -> Any:
    if issubclass(parameter.kind, PerAxis):
        return AxesType(parameter, parameter.kind)
    if parameter.choices:
        return click.Choice(parameter.choices)
    if parameter.kind in (bool, str) or (parameter.low is None and parameter.high is None):
        return parameter.kind
    ends = parameter.low, parameter.high
    if parameter.kind is float:
        return click.FloatRange(*ends, min_open=parameter.open_low, max_open=parameter.open_high)
    low, high = (None if end is None else int(end) for end in ends)
    return click.IntRange(low, high, min_open=parameter.open_low, max_open=parameter.open_high)

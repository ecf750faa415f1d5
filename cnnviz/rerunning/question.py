"""The question that a record holds, asked again."""

from __future__ import annotations

import inspect
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import MISSING, fields, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

import cnnviz
from cnnviz.catalogue import CATALOGUE, load
from cnnviz.core import aim
from cnnviz.core import target as targets
from cnnviz.core.parse_target import parse_target
from cnnviz.core.region import split_region
from cnnviz.core.similar import Similar, names_pictures, restore_references
from cnnviz.drawing.paper import Paper
from cnnviz.errors import OutputError, UsageError, quoted, visible
from cnnviz.evaluation.metric import METRICS
from cnnviz.method import MOST_SEED, SHOWN, Method
from cnnviz.provenance import Provenance
from cnnviz.rerunning.schema import (
    MOST_THREADS,
    is_count,
    is_dataset,
    is_number,
    is_references,
    is_text,
    names_files,
    refuse_record,
)
from cnnviz.results.patches import WITHOUT_EFFECT

__all__ = [
    "FILES",
    "ask_again",
    "check_question",
    "ensure_askable",
    "film_again",
    "held_masks",
    "restore_asked",
    "write_again",
]

SIZES = ("cell", *(each.name for each in fields(Paper)))
NOT_A_LOOK = (*SIZES, "format", "each")
FILES = "files"
"""Where a record holds the files that its target names."""
FUNCTIONS = ("certify", "compare", "evaluate", "predict", "rank_layers", "report")
"""What makes files without being a method: functions of the package with the network and the pictures first."""

LARGEST_SETTING = 10_000_000
PLAIN_TYPES = (str, bool, NoneType)
UNASKED = (targets.Target, targets.CustomTarget, targets.RegionTarget)
MOST_SPELT = 60


def ensure_askable(record: Provenance, name: str) -> None:
    """Refuse what no record can bring back.

    Args:
        record: How the file was made.
        name: The file's name.

    Raises:
        OutputError: If it was made by no method that this version has.
        UsageError: If it was composed in a script, asked with a function or object in memory, or made of tensors.
    """
    shown = quoted(name)
    if record.method == "grid":
        raise UsageError(f"{shown} is a grid that a script composed; run that script again.")
    if record.method not in CATALOGUE and record.method not in FUNCTIONS:
        by = quoted(record.method or "no method")
        raise OutputError(f"{shown} was made by {by}, which cannot be asked again.")
    known, asked = held_masks(record), _each(record.asked.get("target"))
    if mask := next((each for each in asked if mask_of(each) not in (None, *known)), None):
        raise OutputError(
            f"{shown} explains {_spell(mask)}, a region of a mask which its record does not hold; ask the method again."
        )
    for held in _nested_records(record.asked):
        if "function" in held:
            raise UsageError(
                f"{shown} explains the function {_spell(held['function'])}, which only the script that has it can "
                "ask again."
            )
        if "object" in held:
            kind = visible(str(held["object"])[:MOST_SPELT])
            raise UsageError(f"{shown} was asked with a {kind} in memory, which its record does not hold.")
    shown_images = [*record.images, *_nested_records(record.asked.get("references"))]
    tensors = [visible(str(each.get("name"))[:MOST_SPELT]) for each in shown_images if each.get("kind") == "tensor"]
    if tensors:
        raise UsageError(
            f"{shown} was made of tensors ({', '.join(tensors[:3])}), of which the record holds a hash only; "
            "run the script that made them again."
        )
    if record.method == "maximize" and "examples" in record.asked:
        raise UsageError(
            f"{shown} was made with examples of which its record holds the number only; give them to maximize again."
        )


def _spell(value: Any) -> str:
    return quoted(str(value)[:MOST_SPELT])


def check_question(record: Provenance, name: str) -> None:
    """Make sure that a record asks what cnnviz writes down for its method, each setting within its bounds.

    Args:
        record: How the file was made, of a form that :func:`cnnviz.rerunning.schema.check_form` has seen.
        name: The file's name.

    Raises:
        OutputError: If it asks for anything else; the message names it.
    """
    try:
        if record.method in ("compare", "rank_layers"):
            _check_function(record)
        elif record.method == "evaluate":
            _check_evaluation(record)
        else:
            _check_method(record, _method_of(record))
        _check_asked(record)
    except UsageError as error:
        raise refuse_record(name, str(error).rstrip(".")) from error


def _check_method(record: Provenance, method: Method[Any, Any]) -> None:
    """What a method was asked, besides network and pictures, and its settings."""
    beside = (*method.needs, FILES, *_beside(method))
    odd = next((name for name in record.asked if name in SHOWN or name not in beside), None)
    if odd is not None:
        raise UsageError(f"{record.method} is not asked with {quoted(odd)}")
    _check_settings(record.settings, [method])


def _beside(method: Method[Any, Any]) -> tuple[str, ...]:
    """What stands in a record beside what a method is asked."""
    return ("references",) if "target" in method.needs else ()


def _check_function(record: Provenance) -> None:
    """What a comparison or a ranking was asked, which names methods of its own and their settings."""
    own = ("methods", "layers") if record.method == "compare" else ("method", "share")
    if record.method == "compare" and "methods" not in record.asked:
        raise UsageError("compare is asked with methods and layers by name")
    named = record.asked.get("methods", record.asked.get("method", ["gradcam"]))
    names = [named] if isinstance(named, str) else named
    layers = record.asked.get("layers", [])
    if not (isinstance(names, list) and isinstance(layers, list) and all(map(is_text, [*names, *layers]))):
        raise UsageError(f"{record.method} is asked with methods and layers by name")
    settings = {key: value for key, value in record.asked.items() if key not in (*own, "target", "references", FILES)}
    _check_settings(settings, [load(each) for each in names])


EVALUATED = ("methods", "metrics", "layers", "masks", "boxes", "target", "budget", "seed", "settings")
"""What an evaluation is asked."""


def _check_evaluation(record: Provenance) -> None:
    """What an evaluation was asked: methods, metrics and layers by name, data sets and files by their hashes."""
    asked = record.asked
    methods = asked.get("methods")
    listed = list(methods.values()) if isinstance(methods, Mapping) else methods
    names = (listed, asked.get("metrics"), _each(asked.get("layers", [])))
    if not all(isinstance(each, list) and all(map(is_text, each)) for each in names) or not listed:
        raise UsageError("evaluate is asked with methods, metrics and layers by name")
    if not METRICS.keys() >= set(asked["metrics"]):
        raise UsageError(f"evaluate has not all of the metrics {_spell(', '.join(asked['metrics']))}")
    for name, most in (("budget", LARGEST_SETTING), ("seed", MOST_SEED)):
        if name in asked and not is_count(0, most)(asked[name]):
            raise UsageError(f"{name} is {_spell(asked[name])}")
    if not (is_dataset(asked.get("masks")) or "masks" not in asked):
        raise UsageError("masks is not a folder with a name and a fingerprint")
    if not (names_files([asked.get("boxes")]) or "boxes" not in asked):
        raise UsageError("boxes is not a file with a name and a hash")
    unknown = next((key for key in asked if key not in EVALUATED), None)
    if unknown is not None or not isinstance(asked.get("settings", {}), Mapping):
        raise UsageError(f"evaluate is not asked with {_spell(unknown or 'such settings')}")
    _check_settings(asked.get("settings", {}), [load(each.partition("@")[0]) for each in listed])


def _check_asked(record: Provenance) -> None:
    """Whether what is asked for is of a kind that a record holds: targets, names, a number."""
    asked = record.asked
    references = asked.get("references", [])
    if not is_references(references):
        raise UsageError(f"references is {_spell(references)}, where a record names pictures by their hashes")
    masks = held_masks(record)
    restored = restore_references(asked, references) if "references" in asked else asked
    restore_asked(restored.get("target"), masks)
    if FILES in asked and not (masks and set(masks) == {mask_of(each) for each in _each(asked.get("target"))} - {None}):
        raise UsageError("files are none that its target names")
    examples = asked.get("examples")
    if not isinstance(examples, (Mapping, type(None))) and not str(examples).startswith("shapes:"):
        raise UsageError(f"examples is {_spell(examples)}, where a record names a data set by its fingerprint")
    if isinstance(examples, Mapping) and not (
        set(examples) == {"kind", "name", "sha256"} and all(map(is_text, examples.values()))
    ):
        raise UsageError("examples is not a data set with a name and a fingerprint")
    for each in ("start", "judge"):
        if each in asked and not is_text(asked[each]):
            raise UsageError(f"{each} is {_spell(asked[each])}")
    if "start" in asked and not record.images:
        raise UsageError("start names a picture that is not among the images")
    if "share" in asked and not is_number(asked["share"]):
        raise UsageError(f"share is {_spell(asked['share'])}")


def _check_settings(settings: Mapping[str, Any], methods: Sequence[Method[Any, Any]]) -> None:
    for name, value in settings.items():
        known = [one.parameters[name] for one in methods if name in one.parameters]
        if not known or name in WITHOUT_EFFECT:
            raise UsageError(
                f"{' and '.join(one.name for one in methods)} has no setting {quoted(name)} that is recorded"
            )
        for each in known:
            each.check(value)
        if name != "seed" and is_number(value) and value > (MOST_THREADS if name == "threads" else LARGEST_SETTING):
            raise UsageError(f"{name} is {value}")


def ask_again(record: Provenance, model: Any, pictures: Any) -> Any:
    """The result of the record's method with its settings.

    Args:
        record: How the file was made.
        model: The network, or several.
        pictures: The pictures, or the data set.

    Raises:
        ParameterError: If the method has other settings now.
        CnnvizError: Whatever the method raises.
    """
    asked = {name: value for name, value in record.asked.items() if name != FILES}
    if "target" in asked and record.method == "evaluate":
        asked["target"] = restore_asked(asked["target"])
    elif "target" in asked:
        first = model[0] if isinstance(model, list) else model
        asked["target"] = restore_asked(asked["target"], record.asked.get(FILES, {}))
        spelt = _spell_out(_place_masks(asked["target"], record, first), record, first)
        asked["target"] = _pick_rows(spelt, record)
    method = _method_of(record)
    asked |= {"block": record.chunk} if record.method == "evaluate" else {}
    if not isinstance(method, Method):
        return method(model, pictures, **asked)
    shown = {"model": model, **dict.fromkeys(SHOWN[1:], pictures)}
    given = [shown[need] if need in SHOWN else asked.get(need) for need in method.needs]
    return method(*given, **record.settings)


def _pick_rows(target: Any, record: Provenance) -> Any:
    """Of a target for each picture of a large call those of the record's own, where it names no others."""
    if not isinstance(target, list) or not record.images or record.batch or not record.rows:
        return target
    return [target[row] for row in record.rows] if max(record.rows) < len(target) else target


def _method_of(record: Provenance) -> Any:
    return load(record.method) if record.method in CATALOGUE else getattr(cnnviz, record.method)


def film_again(record: Provenance, model: Any, clip: Path, out: Path) -> None:
    """Explain every frame of a clip again, and write it."""
    look = {name: value for name, value in record.look.items() if name not in NOT_A_LOOK}
    target = restore_asked(record.asked.get("target"), record.asked.get(FILES, {}))
    target = _place_masks(target, record, model)
    cnnviz.video(model, clip, record.method, target, out, look=cnnviz.Look(**look), **record.settings)


def write_again(result: Any, record: Provenance, out: Path) -> None:
    """Write the part of a result that the record is about, drawn as it was."""
    if not hasattr(result, "save"):
        raise OutputError(
            f"The record's network has one answer for a whole picture, of which {record.method} draws none."
        )
    look = {name: value for name, value in record.look.items() if name not in NOT_A_LOOK}
    sizes = {name: record.look[name] for name in SIZES if name in record.look}
    if record.look.get("each"):
        row = next(iter(record.rows), 0)
        _write_each(result, row if row < len(result) else 0, out, look | sizes)
        return
    part = result[_rows_slice(record.rows)] if record.rows and max(record.rows) < len(result) else result
    _check_look(part, look, record.method)
    part.save(out, **look, **({} if out.suffix.lower() == ".npz" else sizes))


def _check_look(result: Any, look: Mapping[str, Any], method: str) -> None:
    """Refuse names of a look that a result is not drawn by."""
    known = [one for name in ("save", "grid") if hasattr(result, name) for one in _parameters_of(getattr(result, name))]
    if hasattr(result, "grid") and any(one.kind is one.VAR_KEYWORD for one in _parameters_of(result.grid)):
        return  # it says so itself
    odd = next((name for name in look if name not in {one.name for one in known}), None)
    if odd is not None:
        raise OutputError(f"The record has {method} drawn with {quoted(odd)}, which it is not drawn by.")


def _parameters_of(function: Any) -> list[inspect.Parameter]:
    return list(inspect.signature(function).parameters.values())


def _write_each(result: Any, row: int, out: Path, look: Mapping[str, Any]) -> None:
    """One of several files that have a scale in common, which only all of them together give."""
    try:
        with TemporaryDirectory(dir=out.parent, prefix=".cnnviz-") as folder:
            files = [Path(folder) / f"{number}{out.suffix}" for number in range(len(result))]
            result.save_each(files, **look)
            files[row].replace(out)
    except OSError as error:
        raise OutputError(f"'{out}' cannot be written: {error.strerror or error}.") from error


def _rows_slice(rows: Sequence[int]) -> slice:
    step = rows[1] - rows[0] if len(rows) > 1 else 1
    stop = rows[-1] + step
    return slice(rows[0], None if stop < 0 else stop, step)


def restore_asked(value: Any, masks: Container[str] = ()) -> Any:
    """A target, or a list of them, from the values that a record holds.

    Args:
        value: What the record holds.
        masks: The masks of which it holds the hash.

    Raises:
        OutputError: If the record asks for a kind of target that there is not, or one with other fields.
    """
    if isinstance(value, list):
        return [restore_asked(each, masks) for each in value]
    if isinstance(value, Mapping):
        return _restore_target(value)
    if isinstance(value, Similar):
        return value
    mask = mask_of(value)
    text = value.strip() if isinstance(value, str) else ""
    if text.endswith(aim.VECTOR) or (mask is not None and mask not in masks) or names_pictures(text):
        raise UsageError(f"a target is {_spell(value)}, where records name no files")
    if value is None or is_text(value) or is_count(-LARGEST_SETTING, LARGEST_SETTING)(value):
        return value
    raise UsageError(f"a target is {_spell(value)}")


def mask_of(target: Any) -> str | None:
    """The file of a mask of which a target is a region; None for any other."""
    try:
        found = split_region(target) if isinstance(target, str) else None
    except UsageError:
        return None
    return None if found is None else found[1].file


def held_masks(record: Provenance) -> dict[str, Mapping[str, str]]:
    """The files that a record's target names, by their names, each with its hash; none where two have one name."""
    held = record.asked.get(FILES, ())
    if not names_files(held):
        return {}
    found = {each["file"]: each for each in held}
    return found if len(found) == len(held) else {}


def _each(target: Any) -> list[Any]:
    return target if isinstance(target, list) else [target]


def _place_masks(target: Any, record: Provenance, model: Any) -> Any:
    """A target, or several, with the files that were found for its masks."""
    if isinstance(target, list):
        return [_place_masks(each, record, model) for each in target]
    name = mask_of(target)
    if name is None:
        return target
    parsed = parse_target(target, model.labels, model.layer_names)
    if not isinstance(parsed, targets.RegionTarget) or parsed.region is None or parsed.region.file != name:
        return parsed
    return replace(parsed, region=replace(parsed.region, file=str(record.asked[FILES][name])))


def _restore_target(value: Mapping[str, Any]) -> targets.Target:
    named = str(value.get("kind"))
    kind = getattr(targets, named, None) or getattr(aim, named, None)
    if not isinstance(kind, type) or not issubclass(kind, targets.Target) or kind in UNASKED:
        raise UsageError(f"it asks for a {_spell(value.get('kind'))}, which this version does not know")
    hints = get_type_hints(kind)
    given = {name: each for name, each in value.items() if name != "kind"}
    needed = {each.name for each in fields(kind) if each.default is MISSING}
    if not needed <= set(given) <= set(hints):
        raise UsageError(f"a {kind.__name__} has {', '.join(hints) or 'nothing'}, not {', '.join(map(_spell, given))}")
    return kind(**{name: _restore_field(each, hints[name]) for name, each in given.items()})


def _restore_field(value: Any, hint: Any) -> Any:
    """A field of a target, of the type that its class says."""
    for one in get_args(hint) if isinstance(hint, UnionType) else (hint,):
        if get_origin(one) is tuple and isinstance(value, list):
            inner = get_args(one)
            kinds = [inner[0]] * len(value) if inner[-1] is ... else inner
            if len(kinds) == len(value):
                return tuple(_restore_field(each, kind) for each, kind in zip(value, kinds, strict=True))
        elif isinstance(one, type) and issubclass(one, targets.Target) and isinstance(value, Mapping):
            found = _restore_target(value)
            if isinstance(found, one):
                return found
        elif one in (int, float) and is_number(value) and abs(value) <= LARGEST_SETTING:
            if one is float or isinstance(value, int):
                return value
        elif one in PLAIN_TYPES and type(value) is one:
            return value
    raise UsageError(f"a target holds {_spell(value)}")


def _spell_out(target: Any, record: Provenance, model: Any) -> Any:
    """A target that this version does not take, as the record's answer spells it: older ones took parts of labels."""
    if isinstance(target, list):
        answers = dict(zip(record.rows or range(len(record.targets)), record.targets, strict=False))
        return [
            _spell_one(each, answers.get(row, next(iter(record.targets), "")), model) for row, each in enumerate(target)
        ]
    return _spell_one(target, next(iter(record.targets), ""), model)


def _spell_one(target: Any, answered: str, model: Any) -> Any:
    if not isinstance(target, str):
        return target
    try:
        aim.parse_aim(target, model.labels, model.layer_names)
    except UsageError:
        with suppress(UsageError):
            return aim.parse_aim(restore_asked(answered), model.labels, model.layer_names)
    return target


def _nested_records(value: Any) -> Iterator[Mapping[str, Any]]:
    """All records within a value."""
    if isinstance(value, Mapping):
        yield value
        for each in value.values():
            yield from _nested_records(each)
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _nested_records(each)

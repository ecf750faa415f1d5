"""The question that a record holds, asked again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cnnviz
from cnnviz.catalogue import CATALOGUE, load
from cnnviz.core import aim
from cnnviz.core import target as targets
from cnnviz.errors import OutputError, UsageError
from cnnviz.method import SHOWN, Method
from cnnviz.provenance import Provenance

__all__ = ["ask_again", "ensure_askable", "film_again", "write_again"]

SIZES = ("cell", "width")
NOT_A_LOOK = (*SIZES, "format", "each")
FUNCTIONS = ("compare", "rank_layers", "report")
"""What makes files without being a method: functions of the package with the network and the pictures first."""


def ensure_askable(record: Provenance, name: str) -> None:
    """Refuse what no record can bring back.

    Args:
        record: How the file was made.
        name: The file's name.

    Raises:
        UsageError: If it was composed in a script, asked with a function or object in memory, or made of tensors.
    """
    if record.method == "grid":
        raise UsageError(f"'{name}' is a grid that a script composed; run that script again.")
    if record.method not in CATALOGUE and record.method not in FUNCTIONS:
        raise UsageError(f"'{name}' was made by '{record.method or 'no method'}', which cannot be asked again.")
    for held in _nested_records(record.asked):
        if "function" in held:
            raise UsageError(
                f"'{name}' explains the function '{held['function']}', which only the script that has it can ask again."
            )
        if "object" in held:
            raise UsageError(f"'{name}' was asked with a {held['object']} in memory, which its record does not hold.")
    tensors = [image["name"] for image in record.images if image.get("kind") == "tensor"]
    if tensors:
        raise UsageError(
            f"'{name}' was made of tensors ({', '.join(tensors[:3])}), of which the record holds a hash only; "
            "run the script that made them again."
        )


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
    asked = {name: _restore_asked(value) for name, value in record.asked.items()}
    if "target" in asked:
        asked["target"] = _spell_out(asked["target"], record, model[0] if isinstance(model, list) else model)
    method = load(record.method) if record.method in CATALOGUE else getattr(cnnviz, record.method)
    if not isinstance(method, Method):
        return method(model, pictures, **asked)
    shown = {"model": model, **dict.fromkeys(SHOWN[1:], pictures)}
    given = [shown[need] if need in SHOWN else asked.get(need) for need in method.needs]
    unknown = sorted(set(record.settings) - set(method.parameters))
    if unknown:
        raise UsageError(f"{record.method} has no setting '{unknown[0]}' any more, so this cannot be made again.")
    return method(*given, **record.settings)


def film_again(record: Provenance, model: Any, clip: Path, out: Path) -> None:
    """Explain every frame of a clip again, and write it."""
    look = {name: value for name, value in record.look.items() if name not in NOT_A_LOOK}
    target = _restore_asked(record.asked.get("target"))
    cnnviz.video(model, clip, record.method, target, out, look=cnnviz.Look(**look), **record.settings)


def write_again(result: Any, record: Provenance, out: Path) -> None:
    """Write the part of a result that the record is about, drawn as it was."""
    look = {name: value for name, value in record.look.items() if name not in NOT_A_LOOK}
    if record.look.get("each"):
        _write_each(result, record.rows[0] if record.rows else 0, out, look)
        return
    part = result[_rows_slice(record.rows)] if record.rows else result
    sizes = {name: record.look[name] for name in SIZES if name in record.look}
    if sizes and out.suffix.lower() != ".npz":
        part.grid(**look).save(out, **sizes)
    else:
        part.save(out, **look)


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


def _restore_asked(value: Any) -> Any:
    """What was asked, from the values that a record holds."""
    if isinstance(value, list):
        return [_restore_asked(each) for each in value]
    if not isinstance(value, Mapping):
        return value
    fields = {name: _restore_asked(each) for name, each in value.items() if name != "kind"}
    named = str(value.get("kind"))
    kind = getattr(targets, named, None) or getattr(aim, named, None)
    if not isinstance(kind, type) or not issubclass(kind, targets.Target):
        raise UsageError(f"The record asks for a '{value.get('kind')}', which this version does not know.")
    tupled = {name: tuple(each) if isinstance(each, list) else each for name, each in fields.items()}
    return kind(**tupled)


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
            return aim.parse_aim(answered, model.labels, model.layer_names)
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

"""What a record names besides pictures: what is opened on its word alone, what the user has to give or to trust."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch

from cnnviz.core.picture import ValueRange
from cnnviz.errors import ModelError, UsageError, quoted
from cnnviz.models.formats import looks_like_file, wants_random
from cnnviz.models.load import load_model
from cnnviz.models.model import Model
from cnnviz.models.origin import names_code
from cnnviz.models.sources.bundled import bundled_names
from cnnviz.models.sources.registries import PREFIX, torchvision_registry
from cnnviz.provenance import Provenance
from cnnviz.rerunning.find import DRAWN, SHORT, find_file, is_drawn
from cnnviz.rerunning.schema import FORMER_LOGITS

__all__ = ["Substitutes", "as_pair", "open_judge", "open_networks", "refuse_untrusted"]

PLAIN = ("mean", "std", "head", "embedding", "rate", "spacing", "standardise", "name")
"""What stands in a record of an opening as ``load_model`` takes it."""
TIMM_NAME = re.compile(r"[A-Za-z0-9_.-]+")
WEIGHTS_NAME = re.compile(r"(\w+\.)?[A-Z][A-Z0-9_]*")


@dataclass(frozen=True)
class Substitutes:
    """What the user gives in place of what the record names, or None.

    Attributes:
        model: A network, or its name or file; a list of them for a comparison of several.
        weights: A weights file or name.
        labels: A file of labels.
        judge: The second network of ``maximize``, or its name or file.
        trust: Whether files that the record names are opened where their hashes are those of the record.
    """

    model: Any = None
    weights: Any = None
    labels: Any = None
    judge: Any = None
    trust: bool = False

    @property
    def networks(self) -> list[Any]:
        """The networks that are given."""
        several = self.model if isinstance(self.model, (list, tuple)) else [self.model]
        return [each for each in several if each is not None]


class Named(NamedTuple):
    """Something that a record names and that is not opened on its word.

    Attributes:
        what: What it is, and its name.
        option: The option that gives it; empty for none.
        hashed: Whether the record knows its hash, so that it can be trusted.
    """

    what: str
    option: str
    hashed: bool = True


def refuse_untrusted(record: Provenance, name: str, substitutes: Substitutes, *, placed: bool) -> None:
    """Refuse a record that names code, files or folders which the user has neither given nor said to trust.

    By name alone open the bundled networks and those of torchvision and timm, their own weights, and drawn shapes.

    Args:
        record: How the file was made.
        name: The file's name.
        substitutes: What the user gives.
        placed: Whether the user said where data sets are.

    Raises:
        ModelError: If it names any; the message shows them, and the options that allow them.
    """
    found = [*_named_networks(record, substitutes), *_named_beside(record, substitutes, placed=placed)]
    left = [each for each in found if not (substitutes.trust and each.hashed)]
    if not left:
        return
    options = list(dict.fromkeys(each.option for each in left if each.option))
    ways = [f"give {'it' if len(left) == 1 else 'them'} with {_enumerate(options)}"] if options else []
    ways += ["add --trust to open what has the hash that is recorded"] if all(each.hashed for each in left) else []
    raise ModelError(
        f"{quoted(name)} was made with {_enumerate(list(dict.fromkeys(each.what for each in left)))}, which rerun "
        f"does not open on a record's word{'; ' if ways else ''}{', or '.join(ways)}."
    )


def _enumerate(words: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def _named_networks(record: Provenance, substitutes: Substitutes) -> Iterator[Named]:
    networks = record.model.get("networks") or [record.model]
    for described in networks:
        opening = described.get("opening", {})
        if not substitutes.networks and opening:
            yield from _named_network(opening["model"], "network", "--model")
        if any(isinstance(each, Model) for each in substitutes.networks):
            continue
        if substitutes.weights is None and not _is_known_weights(opening.get("weights")):
            yield Named(f"the weights {_show(opening['weights'])}", "--weights", _is_file(opening["weights"]))
        if substitutes.labels is None and _is_file(opening.get("labels")):
            yield Named(f"the labels {_show(opening['labels'])}", "--labels")
        logits = _recorded_logits(opening)
        if _is_file(logits) or names_code(logits):
            yield Named(f"the logits' function {_show(logits)}", "", _is_file(logits))


def _named_beside(record: Provenance, substitutes: Substitutes, *, placed: bool) -> Iterator[Named]:
    if substitutes.judge is None and "judge" in record.asked:
        yield from _named_network(record.asked["judge"], "judge", "--judge")
    examples = record.asked.get("examples")
    sets = [each for each in record.images if each.get("kind") == "dataset"]
    sets += [examples] if isinstance(examples, Mapping) else []
    sets += [{"name": examples}] if isinstance(examples, str) else []
    for each in sets:
        drawn = each["name"].startswith(DRAWN)
        if not is_drawn(each) and (drawn or not placed):
            yield Named(f"the data set {quoted(each['name'])}", "" if drawn else "--images")
    if record.settings.get("compiled") is True:
        yield Named("compiled=True, which starts a compiler", "")


def _named_network(named: Any, what: str, option: str) -> Iterator[Named]:
    if not _is_known_network(named):
        yield Named(f"the {what} {_show(named)}", option, _is_file(named))


def _is_known_network(named: Any) -> bool:
    """Whether a name stands for a network that comes with cnnviz or one of its libraries."""
    if not isinstance(named, str):
        return False
    if named.startswith(PREFIX):
        return TIMM_NAME.fullmatch(named.removeprefix(PREFIX)) is not None
    return named in bundled_names() or named in torchvision_registry()


def _is_known_weights(named: Any) -> bool:
    """Whether these are no weights of a file: the usual ones, random ones, or others by their name in a library."""
    if named is None or wants_random(named):
        return True
    return isinstance(named, str) and WEIGHTS_NAME.fullmatch(named) is not None and not looks_like_file(named)


def _is_file(named: Any) -> bool:
    """Whether it is a file by its name and hash."""
    return isinstance(named, Mapping) and "file" in named


def _show(named: Any) -> str:
    if not isinstance(named, Mapping):
        return quoted(str(named))
    function = f":{named['function']}" if "function" in named else ""
    return f"{quoted(named['file'] + function)} (sha256 {named['sha256'][:SHORT]}...)"


def open_networks(record: Provenance, substitutes: Substitutes, folders: Sequence[Path]) -> Any:
    """The network of a record, or the networks of a comparison.

    Args:
        record: How the file was made.
        substitutes: What the user gives in place of what it names.
        folders: Where files are looked for.

    Raises:
        UsageError: If there are not as many networks as were compared, or one was made in memory and none is given.
        ModelError: If a file is not found, or a network cannot be opened.
    """
    several, given = record.model.get("networks"), substitutes.networks
    if not several:
        if len(given) > 1:
            raise UsageError(f"This was made with one network; {len(given)} are given.")
        return _reopen(record.model, record.device, next(iter(given), None), substitutes, folders)
    if (given and len(given) != len(several)) or substitutes.weights or substitutes.labels:
        raise UsageError(
            f"This compares several networks; each is opened as it was, or all {len(several)} are given with --model, "
            "in their order."
        )
    pairs = zip(several, given or [None] * len(several), strict=True)
    return [_reopen(each, record.device, one, substitutes, folders) for each, one in pairs]


def open_judge(record: Provenance, substitutes: Substitutes, folders: Sequence[Path]) -> Any:
    """The second network of ``maximize``: what the user gives, else what the record names, or None."""
    judge = substitutes.judge if substitutes.judge is not None else record.asked.get("judge")
    if judge is None or isinstance(judge, Model):
        return judge
    return load_model(_find_code(judge, "judge's file", "--judge", folders), device=_choose_device(record.device))


def _reopen(
    described: Mapping[str, Any], device: str, given: Any, substitutes: Substitutes, folders: Sequence[Path]
) -> Model:
    """A network of a record, on the device of the record where there is one."""
    if isinstance(given, Model):
        return given
    opening = dict(described.get("opening", {}))
    if not opening and given is None:
        known = quoted(described.get("name", ""))
        raise UsageError(f"The network {known} was in memory when this was made; rerun needs it as model.")
    logits = _recorded_logits(opening)
    if isinstance(logits, Mapping) and "file" not in logits:
        raise UsageError(
            f"The network's logits were chosen by the function {quoted(logits['function'])}, which only the "
            "script that has it can give; open the network there and give it as model."
        )
    asked = {
        "weights": substitutes.weights or _find_path(opening.get("weights"), "weights file", "--weights", folders),
        "labels": substitutes.labels or _find_path(opening.get("labels"), "labels file", "--labels", folders),
        **_plain_opening(opening),
        "logits": _find_code(logits, "logits' file", "--images", folders),
        "device": _choose_device(device),
    }
    name = given if given is not None else _find_code(opening["model"], "network's file", "--model", folders)
    try:
        return load_model(name, **asked)
    except UsageError as error:
        if given is not None or substitutes.weights or substitutes.labels:
            raise
        raise ModelError(f"The network cannot be opened as the record has it: {error}") from error


def _recorded_logits(opening: Mapping[str, Any]) -> Any:
    return opening.get("logits", opening.get(FORMER_LOGITS))


def _plain_opening(opening: Mapping[str, Any]) -> dict[str, Any]:
    """What of a record's opening are plain values, as ``load_model`` takes them."""
    size, grid = opening.get("input_size"), opening.get("grid")
    return {
        **{name: opening.get(name) for name in PLAIN},
        "input_size": tuple(size) if isinstance(size, list) else size,
        "value_range": as_pair(opening.get("value_range")),
        "grid": tuple(grid) if grid else None,
        "seed": opening.get("seed", 0),
    }


def _find_code(named: Any, what: str, option: str, folders: Sequence[Path]) -> Any:
    """A name as it is; a file by its content, with the function in it where there is one."""
    if not isinstance(named, Mapping):
        return named
    file = find_file(named, what, option, folders)
    return f"{file}:{named['function']}" if "function" in named else str(file)


def as_pair(values: Sequence[float] | str | None) -> ValueRange | str | None:
    """A recorded range as a pair, or the word for one."""
    return values if values is None or isinstance(values, str) else (values[0], values[1])


def _find_path(named: Any, what: str, option: str, folders: Sequence[Path]) -> Any:
    return find_file(named, what, option, folders) if isinstance(named, Mapping) else named


def _choose_device(recorded: str) -> str:
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    return recorded if there.get(recorded) else "cpu"

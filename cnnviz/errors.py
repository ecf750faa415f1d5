"""What can go wrong, each as one sentence.

    CnnvizError                 exit code 1: the work failed
    |-- PictureError            a picture cannot be read
    |   `-- PassingPictureError it cannot be read now, and may be another time
    |-- ModelError              a network cannot be opened or run
    |   `-- WeightsError        its weights are missing, refused or do not fit
    |-- ExplanationError        the network runs, but cannot be asked this question
    |-- OutputError             a file cannot be written, or not be read back
    |-- MissingExtraError       an optional library is not installed
    `-- UsageError              exit code 2: the request itself is wrong
        |-- UnknownNameError    no model, layer, label or method of that name
        |-- TargetError         a target that this network does not have
        |   `-- NowhereError    a class or a box that some pictures do not have
        `-- ParameterError      a setting outside its bounds

Every message says what was wrong, what was expected and, where there is one, the nearest valid choice.
"""

from __future__ import annotations

import difflib
import traceback
import unicodedata
from collections.abc import Iterable
from pathlib import Path

__all__ = [
    "CnnvizError",
    "PictureError",
    "PassingPictureError",
    "ModelError",
    "WeightsError",
    "ExplanationError",
    "OutputError",
    "MissingExtraError",
    "UsageError",
    "UnknownNameError",
    "TargetError",
    "NowhereError",
    "ParameterError",
]


class CnnvizError(Exception):
    """Any error that cnnviz raises on purpose; ``exit_code`` is what the command line ends with."""

    exit_code = 1


class PictureError(CnnvizError):
    """A picture cannot be read."""


class PassingPictureError(PictureError):
    """A picture cannot be read now; nothing says that it is damaged, so it may be another time."""


class ModelError(CnnvizError):
    """A network cannot be opened or run."""


class WeightsError(ModelError):
    """A network's weights are missing, refused or do not fit."""


class ExplanationError(CnnvizError):
    """The network runs, but cannot be asked this question."""


class OutputError(CnnvizError):
    """A file cannot be written, or a file cannot be read back."""


class MissingExtraError(CnnvizError):
    """An optional library is not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs an optional library: pip install 'cnnviz[{extra}]'.")


def describe_missing(error: ModuleNotFoundError) -> str:
    """A package that is not installed, and what installs it, as a sentence."""
    package = (error.name or str(error)).partition(".")[0]
    return f"'{package}' is not installed; 'pip install cnnviz', or 'pip install .' in a checkout, installs it."


class UsageError(CnnvizError):
    """The request itself is wrong."""

    exit_code = 2


class UnknownNameError(UsageError):
    """No model, layer, label or method of that name; the message offers the nearest ones.

    Args:
        kind: What was looked for, such as ``"layer"``.
        name: The name that was given.
        choices: The names there are.
        hint: A closing sentence, such as where to find the whole list.
        most: How many of the choices to offer as they stand, the best first; None offers the nearest of them.
    """

    def __init__(
        self, kind: str, name: str, choices: Iterable[str], hint: str = "", *, most: int | None = None
    ) -> None:
        self.suggestions = nearest(name, choices) if most is None else list(dict.fromkeys(choices))[:most]
        offer = f" Did you mean {_join_names(self.suggestions)}?" if self.suggestions else ""
        super().__init__(f"There is no {kind} '{name}'.{offer}{' ' + hint if hint else ''}")


class TargetError(UsageError):
    """A target that this network does not have."""


class NowhereError(TargetError):
    """A class wins no pixel of some pictures, or has no box there; the others can be asked about without them.

    Args:
        message: The sentence.
        what: Its beginning, up to the pictures: what is not there.
        others: What is.
        hint: What can be asked for besides.
        rows: Which of the pictures of the call.
        count: How many these are.
    """

    def __init__(
        self,
        message: str,
        what: str,
        others: str = "",
        *,
        hint: str = "",
        rows: tuple[int, ...] = (0,),
        count: int = 1,
    ) -> None:
        super().__init__(message)
        self.what, self.others, self.hint, self.rows, self.count = what, others, hint, rows, count


class ParameterError(UsageError):
    """A setting outside its bounds."""


def describe_failure(error: Exception) -> str:
    """An exception of somebody's own function in words: what it is, and the last line that is not a library's."""
    reason = " ".join(str(error).split())[:300]
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)][1:]
    frames = [frame for frame in frames if frame.f_code.co_name != "__torch_function__"]
    lines = [(Path(frame.f_code.co_filename), frame.f_lineno) for frame in frames]
    own = [place for place in lines if not {"site-packages", "dist-packages"} & set(place[0].parts)] or lines
    where = f", in line {own[-1][1]} of {own[-1][0].name}" if own else ""
    return f"{type(error).__name__}{': ' if reason else ''}{reason}{where}"


MOST_LETTERS = 200
"""No name is as long as that by mistake."""


def nearest(name: str, choices: Iterable[str], most: int = 3) -> list[str]:
    """The choices closest to a mistyped name, best first; those that contain it count as close."""
    names = list(dict.fromkeys(choices))
    if len(name) > MOST_LETTERS:
        return []
    by_lower = {choice.lower(): choice for choice in reversed(names)}
    close = [by_lower[hit] for hit in difflib.get_close_matches(name.lower(), by_lower, n=most, cutoff=0.6)]
    within = [choice for choice in names if len(name) > 1 and name.lower() in choice.lower()]
    return list(dict.fromkeys(close + within))[:most]


def quoted(name: str) -> str:
    """A name in quotes, on one line whatever characters it holds."""
    return f"'{visible(name)}'"


def visible(text: str, keep: str = "") -> str:
    """A text with whatever a terminal or a parser could take for a command spelt out, as escapes.

    Args:
        text: Any text, of a stranger's file too.
        keep: Characters that stay as they are, such as a line's end.
    """
    if text.isprintable():
        return text
    return "".join(
        letter
        if letter.isprintable() or letter in keep or unicodedata.category(letter) == "Zs"
        else letter.encode("unicode_escape").decode()
        for letter in text
    )


def _join_names(names: list[str]) -> str:
    quoted = [f"'{name}'" for name in names]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} or {quoted[-1]}"

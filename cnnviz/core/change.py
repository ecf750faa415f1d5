"""Changes for a while, and their undoing, which an interrupt may strike in as well as anywhere else.

An interrupt can come between any two steps of Python: before an ``__exit__`` has begun, or in the middle of it. So a
change is noted before it is made, undone by something that may run twice, and struck off after that. What is still
noted when a question ends, however it ends, is undone then (:func:`undo_since`).
"""

from __future__ import annotations

import contextlib
import functools
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, ParamSpec, Self, TypeVar

from cnnviz.errors import UsageError

__all__ = ["Change", "Locked", "contextmanager", "noted", "quiet_opencv", "undo_since", "undoing"]

P = ParamSpec("P")
T = TypeVar("T")


class _Noted(threading.local):
    """The changes of a thread that are not undone yet, the last at the end."""

    def __init__(self) -> None:
        self.changes: list[Change | _Steps[Any]] = []


_NOTED = _Noted()


class Change:
    """Something that is otherwise inside than outside; used as a context."""

    def begin(self) -> None:
        """Make the change."""

    def undo(self) -> None:
        """Put back what the change has changed so far; may be called again."""

    def __enter__(self) -> Self:
        _NOTED.changes.append(self)
        try:
            self.begin()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *raised: object) -> None:
        try:
            _undo_after(self, raised)
            self.undo()
        except Exception:
            _strike_off(self)
            raise
        _strike_off(self)


class undoing(Change):  # noqa: N801 - used as a function
    """Whatever is changed inside is put back by a function, which may be called again.

    Args:
        undo: The function.
    """

    def __init__(self, undo: Callable[[], object]) -> None:
        self._undo = undo

    def undo(self) -> None:
        """Call the function."""
        self._undo()


class Locked(Change):
    """Inside, no other thread is inside.

    Args:
        lock: A reentrant lock.

    Attributes:
        ours: Whether this thread was inside already.
    """

    def __init__(self, lock: Any) -> None:
        self._lock, self.ours = lock, bool(lock._is_owned())

    def begin(self) -> None:
        """Wait for the others.

        Raises:
            UsageError: If the others wait for this thread.
        """
        if self.ours:
            return
        thread = threading.get_ident()
        if not self._lock.acquire(blocking=False):
            _WAITING[thread] = self._lock
            try:
                while not self._lock.acquire(timeout=PATIENCE):
                    if thread == max(_waiting_in_a_circle(thread), default=None):
                        raise UsageError(IN_A_CIRCLE)
            finally:
                _WAITING.pop(thread, None)
        _INSIDE[id(self._lock)] = thread

    def undo(self) -> None:
        """Let the others in."""
        if not self.ours and self._lock._is_owned():
            _INSIDE.pop(id(self._lock), None)
            self._lock.release()


PATIENCE = 0.2
"""Seconds until a thread that waits looks whether the others wait for it."""
IN_A_CIRCLE = (
    "Two threads wait for each other: each asks a network (or random numbers) that the other is using. Ask one after "
    "the other, and ask no other network from within a target, a factory or a callback."
)
_WAITING: dict[int, Any] = {}
"""For each thread that waits the lock that it waits for."""
_INSIDE: dict[int, int] = {}
"""For each lock, by its identity, the thread inside."""


def _waiting_in_a_circle(thread: int) -> set[int]:
    """The threads that wait for each other, this one among them; none if it waits for one that goes on."""
    found: set[int] = set()
    now: int | None = thread
    while now is not None and now not in found:
        found.add(now)
        lock = _WAITING.get(now)
        now = None if lock is None else _INSIDE.get(id(lock))
    return found if now == thread else set()


class _Steps(AbstractContextManager[T]):
    """A generator as a context that is noted as long as it is inside."""

    def __init__(self, steps: Iterator[T]) -> None:
        self._steps = steps
        self._context = contextlib.contextmanager(lambda: steps)()

    def __enter__(self) -> T:
        _NOTED.changes.append(self)
        try:
            return self._context.__enter__()
        except BaseException:
            self.undo()
            _strike_off(self)
            raise

    def __exit__(self, *raised: object) -> bool | None:
        try:
            _undo_after(self, raised)
            handled = self._context.__exit__(*raised)  # type: ignore[arg-type]
        except Exception:
            _strike_off(self)
            raise
        _strike_off(self)
        return handled

    def undo(self) -> None:
        """Run what the generator does in the end, where it has not come to that."""
        self._steps.close()  # type: ignore[attr-defined]


def contextmanager(function: Callable[P, Iterator[T]]) -> Callable[P, AbstractContextManager[T]]:
    """``contextlib.contextmanager``, but what it does in the end is done before the question ends, whatever happens."""

    @functools.wraps(function)
    def begin(*args: P.args, **kwargs: P.kwargs) -> AbstractContextManager[T]:
        return _Steps(function(*args, **kwargs))

    return begin


@contextlib.contextmanager
def quiet_opencv() -> Iterator[None]:
    """Inside, OpenCV opens videos without words of its own, as FFmpeg then does for good: errors say what is wrong."""
    import cv2

    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    before = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(before)


def noted() -> int:
    """How many changes of this thread are not undone yet."""
    return len(_NOTED.changes)


def undo_since(count: int) -> None:
    """Undo the changes of this thread but for the first so many, the last first; what cannot be undone is left.

    May be interrupted, and called again.
    """
    changes = _NOTED.changes
    while len(changes) > count:
        last = changes[-1]
        with contextlib.suppress(Exception):
            last.undo()
        _strike_off(last)


def _undo_after(change: object, raised: Sequence[object]) -> None:
    """Undo what an interrupt has left inside a change that is left by it: what was changed first is undone last."""
    if raised and isinstance(raised[0], type) and not issubclass(raised[0], Exception):
        places = [at for at, each in enumerate(_NOTED.changes) if each is change]
        undo_since(places[-1] + 1 if places else len(_NOTED.changes))


def _strike_off(change: object) -> None:
    changes = _NOTED.changes
    for at in reversed(range(len(changes))):
        if changes[at] is change:
            del changes[at]
            return

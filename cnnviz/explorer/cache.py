"""What was answered, as long as there is room: the longest unused goes first."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final, TypeVar

__all__ = ["MOST_BYTES", "Cache", "name_answer"]

T = TypeVar("T")

MOST_BYTES: Final = 256 << 20
"""Room for answers: some hundred maps, or the units of some dozen layers."""
LEAST_BYTES: Final = 1 << 10
"""What an answer takes at least, with all that belongs to it."""


def name_answer(*question: Any) -> str:
    """A short name for the answer to a question: the same for the same question."""
    return hashlib.sha256(repr(question).encode()).hexdigest()[:20]


class Cache:
    """Answers by name, the ones used last; several threads may look at once.

    Args:
        most: Bytes that all answers together may take; the last one is kept whatever it takes.
    """

    def __init__(self, most: int = MOST_BYTES) -> None:
        self._most, self._size = most, 0
        self._held: OrderedDict[str, tuple[Any, int]] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._held)

    @property
    def size(self) -> int:
        """Bytes that are held."""
        return self._size

    def find(self, name: str) -> Any | None:
        """An answer that is still held; None if there is none."""
        with self._lock:
            if name not in self._held:
                return None
            self._held.move_to_end(name)
            return self._held[name][0]

    def hold(self, name: str, answer: T, size: int) -> T:
        """Hold an answer, and let go of those that there is no more room for.

        Args:
            name: Its name.
            answer: The answer.
            size: Bytes it takes.
        """
        with self._lock:
            self._size -= self._held.pop(name, (None, 0))[1]
            self._held[name] = answer, max(size, LEAST_BYTES)
            self._size += max(size, LEAST_BYTES)
            while self._size > self._most and len(self._held) > 1:
                _, (_, freed) = self._held.popitem(last=False)
                self._size -= freed
        return answer

    def remember(self, name: str, ask: Callable[[], T], size: Callable[[T], int] = lambda _: LEAST_BYTES) -> T:
        """The answer that is held, or else what is asked now."""
        found = self.find(name)
        if found is not None:
            known: T = found
            return known
        made = ask()
        return self.hold(name, made, size(made))

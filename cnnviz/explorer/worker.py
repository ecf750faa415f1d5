"""The one thread that asks the networks: tasks wait for each other, and one that nobody waits for is left out."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from heapq import heappop, heappush
from itertools import count
from typing import Any, Final, Generic, TypeVar

from cnnviz.errors import UsageError

__all__ = ["LATER", "SOON", "Task", "Worker"]

T = TypeVar("T")

SOON: Final = 0
"""What somebody looks at waits for nothing but the task that runs."""
LATER: Final = 1
"""Long tasks wait for all others."""


class Task(Generic[T]):
    """A question to the networks, which is asked once it is its turn.

    Attributes:
        future: Its answer.
        stopped: Whether it was told to stop while it ran.
    """

    def __init__(self, ask: Callable[[Task[T]], T]) -> None:
        self._ask, self.stopped = ask, False
        self._cancelled = threading.Event()
        self.future: Future[T] = Future()

    def cancel(self) -> None:
        """Leave it out, or stop it at its next step if it runs."""
        self._cancelled.set()
        self.future.cancel()

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits for it any more."""
        return self._cancelled.is_set()

    def step(self, *_: object) -> None:
        """Called between the steps of what it asks, on the worker's thread.

        Raises:
            KeyboardInterrupt: Once, if it is cancelled; methods leave the networks as they were, and keep what there
                is.
        """
        if self.cancelled and not self.stopped:
            self.stopped = True
            raise KeyboardInterrupt

    def run(self) -> None:
        """Ask; called by the worker."""
        if self.cancelled or not self.future.set_running_or_notify_cancel():
            return
        try:
            self.future.set_result(self._ask(self))
        except BaseException as error:  # noqa: BLE001 - whatever went wrong is for whoever waits
            self.future.set_exception(error)


class Worker:
    """One thread that asks the networks, so that answers do not mix and none is asked by two at once."""

    def __init__(self) -> None:
        self._waiting: list[tuple[int, int, Task[Any]]] = []
        self._numbers = count()
        self._changed = threading.Condition()
        self._running: Task[Any] | None = None
        self._stopped = False
        self._thread = threading.Thread(target=self._work, name="cnnviz explorer", daemon=True)
        self._thread.start()

    def submit(self, ask: Callable[[Task[T]], T], urgency: int = SOON) -> Task[T]:
        """Put a question at the end of those as urgent.

        Args:
            ask: Called on the worker's thread with its task.
            urgency: ``SOON`` or ``LATER``.

        Raises:
            UsageError: If the worker is stopped.
        """
        task = Task(ask)
        with self._changed:
            if self._stopped:
                raise UsageError("The explorer is stopped.")
            heappush(self._waiting, (urgency, next(self._numbers), task))
            self._changed.notify()
        return task

    def stop(self) -> None:
        """Cancel all tasks and wait until the one that runs has put its network back."""
        with self._changed:
            self._stopped = True
            tasks = [task for *_, task in self._waiting] + ([self._running] if self._running else [])
            self._waiting.clear()
            self._changed.notify()
        for task in tasks:
            task.cancel()
        self._thread.join()

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._stopped:
                    self._changed.wait()
                if self._stopped:
                    return
                self._running = heappop(self._waiting)[2]
            self._running.run()
            self._running = None

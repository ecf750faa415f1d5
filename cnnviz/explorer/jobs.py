"""Long tasks: how far they are, what they have drawn so far, and how they end."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

from cnnviz.errors import CnnvizError, UnknownNameError
from cnnviz.explorer.worker import LATER, Task, Worker

__all__ = ["LongTask", "LongTasks"]

MOST_JOBS: Final = 64
"""LongTasks that are remembered, those that ended first go first."""


class LongTask:
    """A long task that a browser watches.

    Args:
        work: What it does, called on the worker's thread; it reports to the job, and returns plain values.

    Attributes:
        name: Its name.
        watchers: How many browsers watch it.
    """

    def __init__(self, work: Callable[[LongTask], dict[str, Any]]) -> None:
        self.name, self.watchers = secrets.token_hex(8), 0
        self._work = work
        self._lock = threading.Lock()
        self._said: dict[str, Any] = {"progress": 0, "of": None, "frame": None, "state": "waiting", "done": False}
        self._changes = 0
        self._task: Task[dict[str, Any]] | None = None

    def start(self, worker: Worker) -> None:
        """Wait for its turn, after everything that somebody looks at."""
        self._task = worker.submit(self._run, LATER)

    @property
    def done(self) -> bool:
        """Whether it has ended, in whatever way."""
        return bool(self._said["done"])

    def read(self) -> tuple[int, dict[str, Any]]:
        """How often it has changed, and what there is to say."""
        with self._lock:
            return self._changes, dict(self._said)

    def say(self, **news: Any) -> None:
        """Tell whoever watches."""
        with self._lock:
            self._said.update(news)
            self._changes += 1

    def report(self, progress: int, of: int) -> None:
        """How far it is; called between its steps.

        Raises:
            KeyboardInterrupt: Once, if it is cancelled.
        """
        self.say(progress=progress, of=of)
        if self._task is not None:
            self._task.step()

    def cancel(self) -> None:
        """Stop it at its next step, or leave it out."""
        if self._task is not None and not self.done:
            self._task.cancel()
            if self._task.future.cancelled():
                self.say(state="cancelled", done=True)

    def _run(self, task: Task[dict[str, Any]]) -> dict[str, Any]:
        self.say(state="running")
        try:
            result = self._work(self)
        except KeyboardInterrupt:
            self.say(state="cancelled", done=True)
        except CnnvizError as error:
            self.say(state="failed", error=str(error), done=True)
        except Exception as error:  # noqa: BLE001 - a browser gets a sentence, and never a traceback
            said = f"internal error ({type(error).__name__}: {error}); please report it"
            self.say(state="failed", error=" ".join(said.split()), done=True)
        else:
            self.say(state="cancelled" if task.stopped else "done", result=result, done=True)
        return {}


class LongTasks:
    """The jobs by name."""

    def __init__(self) -> None:
        self._held: OrderedDict[str, LongTask] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, job: LongTask) -> LongTask:
        """Remember a job."""
        with self._lock:
            self._held[job.name] = job
            for name in [name for name, each in self._held.items() if each.done][: max(0, len(self._held) - MOST_JOBS)]:
                del self._held[name]
        return job

    def find(self, name: str) -> LongTask:
        """The job of that name.

        Raises:
            UnknownNameError: If there is none.
        """
        with self._lock:
            found = self._held.get(name)
        if found is None:
            raise UnknownNameError("job", name[:40], ())
        return found

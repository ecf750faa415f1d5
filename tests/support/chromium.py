"""A headless Chromium, asked over its DevTools pipe: no port, no driver, no library."""

from __future__ import annotations

import base64
import itertools
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage", "--hide-scrollbars",
)  # fmt: skip
PATIENCE = 60
KEYS = {"Enter": 13, "Tab": 9, "Escape": 27, " ": 32, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}
"""Numbers of keys, as Windows has them and Chromium wants them."""
READS, WRITES = 3, 4
"""The file descriptors on which Chromium reads commands and writes answers, as ``--remote-debugging-pipe`` has them."""


def installed() -> str | None:
    """The browser's command, if there is one."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Tab:
    """One page of the browser.

    Attributes:
        events: Everything that Chromium reported, as (method, parameters).
    """

    def __init__(self, commands: int, answers: int) -> None:
        self._commands, self._answers = commands, answers
        self._numbers, self._held, self._session = itertools.count(1), b"", ""
        self.events: list[tuple[str, dict[str, Any]]] = []
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Give a command and wait for its answer."""
        number = next(self._numbers)
        command: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if self._session:
            command["sessionId"] = self._session
        os.write(self._commands, json.dumps(command).encode() + b"\0")
        while (answer := self._next()).get("id") != number:
            pass
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        found: dict[str, Any] = answer["result"]
        return found

    def resize(self, width: int, height: int = 900, *, dark: bool = False) -> None:
        """Give the window a size, below 600 pixels that of a phone, and light or dark colours."""
        self.ask(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", features=[scheme])

    def open(self, page: Path | str, *, width: int, height: int = 900, dark: bool = False) -> None:
        """Load a page, a file or an address, at a width and wait until everything in it is there."""
        self.resize(width, height, dark=dark)
        self.events.clear()
        self.ask("Page.navigate", url=page if isinstance(page, str) else page.resolve().as_uri())
        while not any(method == "Page.loadEventFired" for method, _ in self.events):
            self._next()
        self.evaluate("Promise.all([...document.images].map(each => each.decode().catch(() => null))).then(() => true)")

    def evaluate(self, expression: str) -> Any:
        """The value of an expression in the page."""
        found = self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            raise RuntimeError(found["exceptionDetails"]["text"])
        return found["result"].get("value")

    def until(self, expression: str) -> Any:
        """The value of an expression as soon as it is true.

        Raises:
            TimeoutError: If it does not become true.
        """
        end = time.monotonic() + PATIENCE
        while not (found := self.evaluate(expression)):
            if time.monotonic() > end:
                raise TimeoutError(f"never true: {expression}; the page says {self.said()}")
            time.sleep(0.02)
        return found

    def point(self, selector: str, across: float = 0.5, down: float = 0.5) -> tuple[float, float]:
        """A point of an element, as shares of its width and height, in the window; it is waited for and scrolled to."""
        self.until(f"document.querySelector({json.dumps(selector)}) !== null")
        box = self.evaluate(f"""(() => {{
            const one = document.querySelector({json.dumps(selector)});
            one.scrollIntoView({{block: "nearest", behavior: "instant"}});
            const box = one.getBoundingClientRect();
            return [box.left, box.top, box.width, box.height];
        }})()""")
        return box[0] + across * box[2], box[1] + down * box[3]

    def mouse(self, kind: str, x: float, y: float, *, pressed: bool = False) -> None:
        """A movement or button of the mouse: ``Moved``, ``Pressed`` or ``Released``."""
        held = {"button": "left", "clickCount": 1} if kind != "Moved" else {}
        self.ask("Input.dispatchMouseEvent", type=f"mouse{kind}", x=x, y=y, buttons=int(pressed), **held)

    def click(self, selector: str, across: float = 0.5, down: float = 0.5) -> None:
        """Click an element where it is, as a hand does it."""
        x, y = self.point(selector, across, down)
        self.mouse("Moved", x, y)
        self.mouse("Pressed", x, y, pressed=True)
        self.mouse("Released", x, y)

    def drag(self, selector: str, points: Iterable[tuple[float, float]]) -> None:
        """Press the mouse on an element at the first point, move it along the others, and let it go."""
        places = [self.point(selector, *each) for each in points]
        self.mouse("Moved", *places[0])
        self.mouse("Pressed", *places[0], pressed=True)
        for place in places[1:]:
            self.mouse("Moved", *place, pressed=True)
        self.mouse("Released", *places[-1])

    def press(self, key: str, *, code: int = 0, control: bool = False) -> None:
        """Press a key and let it go: ``Enter``, ``Tab``, ``ArrowLeft``, a letter."""
        text = "\r" if key == "Enter" else ""
        known = {"key": key, "modifiers": 2 * control, "windowsVirtualKeyCode": code or KEYS.get(key, 0)}
        self.ask("Input.dispatchKeyEvent", type="keyDown", text=text, **known)
        self.ask("Input.dispatchKeyEvent", type="keyUp", **known)

    def shot(self) -> bytes:
        """The window as a PNG file."""
        return base64.b64decode(self.ask("Page.captureScreenshot")["data"])

    def said(self) -> list[str]:
        """What the console and the log hold, and every exception."""
        words = {
            "Log.entryAdded": "entry",
            "Runtime.consoleAPICalled": "args",
            "Runtime.exceptionThrown": "exceptionDetails",
        }
        return [str(held[words[method]]) for method, held in self.events if method in words]

    def requested(self) -> list[str]:
        """Addresses of everything that was asked for and is not in the page itself."""
        asked = [held["request"]["url"] for method, held in self.events if method == "Network.requestWillBeSent"]
        return [url for url in asked if not url.startswith("data:")]

    def _next(self) -> dict[str, Any]:
        """The next message; events are kept."""
        end = time.monotonic() + PATIENCE
        while b"\0" not in self._held:
            ready, _, _ = select.select([self._answers], [], [], max(0.0, end - time.monotonic()))
            part = os.read(self._answers, 1 << 20) if ready else b""
            if not part:
                raise RuntimeError("Chromium does not answer")
            self._held += part
        line, _, self._held = self._held.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        if "method" in message:
            self.events.append((message["method"], message["params"]))
        return message


@contextmanager
def browsing(command: str, profile: Path, *flags: str) -> Iterator[Tab]:
    """Inside, a browser with a profile of its own runs.

    Args:
        command: The browser's command.
        profile: An empty folder for its profile.
        *flags: More of the browser's options.
    """
    (read_commands, commands), (answers, write_answers) = os.pipe(), os.pipe()
    pipes = f'exec {READS}<&{read_commands} {WRITES}>&{write_answers}; exec "$0" "$@"'
    process = subprocess.Popen(
        ["/bin/bash", "-c", pipes, command, *FLAGS, *flags, "--remote-debugging-pipe", f"--user-data-dir={profile}"],
        pass_fds=(read_commands, write_answers), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(read_commands)
    os.close(write_answers)
    try:
        yield Tab(commands, answers)
    finally:
        for pipe in (commands, answers):
            os.close(pipe)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=10)
        process.kill()
        process.wait()

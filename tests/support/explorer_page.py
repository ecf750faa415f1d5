"""The explorer's page in a browser: views by their addresses, and what they show."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.support.chromium import Tab, browsing, installed

OVERFLOWING = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
SHOWN = "Boolean(document.querySelector('#view > .view:not([aria-busy])'))"
DRAWN = """[...document.images].every(one => one.loading === "lazy" || !one.src
    || (one.complete && one.naturalWidth > 0))"""
MAP = """[...document.querySelectorAll(".frame")].every(one => one.dataset.map && !one.classList.contains("busy"))
    && document.querySelector(".frame") !== null"""
SERIOUS = """axe.run(document, {resultTypes: ["violations"]}).then(found => found.violations
    .filter(one => ["serious", "critical"].includes(one.impact))
    .map(one => one.id + ": " + one.nodes.map(each => each.html.slice(0, 160)).join(" | ")))"""


class ExplorerPage:
    """The page of a running explorer.

    Attributes:
        tab: The browser's tab.
        explorer: What answers.
    """

    def __init__(self, tab: Tab, explorer: Any) -> None:
        self.tab, self.explorer = tab, explorer
        self._complaints: list[str] = []
        tab.open(explorer.url, width=1280)

    def show(self, view: str, *, width: int = 1280, dark: bool = False) -> None:
        """Open a view by its address, as a bookmark does, and wait until it is there."""
        self._complaints += self.tab.said()
        self.tab.open("about:blank", width=width, dark=dark)
        self.tab.open(f"{self.explorer.address}{view}", width=width, dark=dark)
        self.tab.until(SHOWN)
        self.tab.until(DRAWN)

    def go(self, view: str) -> None:
        """Go to a view by its address without loading the page again."""
        self.tab.evaluate(f"location.hash = {json.dumps(view)}")
        self.tab.until(SHOWN)

    def complaints(self) -> list[str]:
        """Everything that the console, the log or an exception has said so far on any view."""
        return self._complaints + self.tab.said()

    def forgive(self, words: str) -> None:
        """Take back what was to be expected: complaints with these words in them; there has to be one."""
        everything = self.complaints()
        self._complaints = [each for each in everything if words not in each]
        assert len(self._complaints) < len(everything)
        self.tab.events.clear()

    @property
    def address(self) -> str:
        """What stands after # in the address."""
        return str(self.tab.evaluate("decodeURIComponent(location.hash)"))

    def text(self, selector: str) -> str:
        """The text of the first element that fits."""
        return str(self.tab.evaluate(f"document.querySelector({json.dumps(selector)}).innerText"))

    def texts(self, selector: str) -> list[str]:
        """The texts of all elements that fit."""
        found: list[str] = self.tab.evaluate(
            f"[...document.querySelectorAll({json.dumps(selector)})].map(one => one.innerText)"
        )
        return found

    def pixels(self, selector: str) -> np.ndarray:
        """The pixels of the file that an image shows."""
        content = self.tab.evaluate(f"""fetch(document.querySelector({json.dumps(selector)}).src)
            .then(answer => answer.blob())
            .then(blob => new Promise(resolve => {{
                const reader = new FileReader();
                reader.onload = () => resolve(reader.result.split(",")[1]);
                reader.readAsDataURL(blob);
            }}))""")
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))

    def levels(self) -> dict[str, float]:
        """The length of each class's bar, 0 to 1, by the class's name."""
        found: dict[str, float] = (
            self.tab.evaluate("""Object.fromEntries([...document.querySelectorAll('.bar')].map(one =>
            [one.dataset.target, parseFloat(one.querySelector('.level').style.width) / 100]))""")
        )
        return found

    def box(self, selector: str, *, frame: str = ".frame") -> list[float]:
        """Where an element lies on a frame: left, top, right, bottom as shares of it."""
        found: list[float] = self.tab.evaluate(f"""(() => {{
            const outer = document.querySelector({json.dumps(frame)}).getBoundingClientRect();
            const inner = document.querySelector({json.dumps(selector)}).getBoundingClientRect();
            return [(inner.left - outer.left) / outer.width, (inner.top - outer.top) / outer.height,
                (inner.right - outer.left) / outer.width, (inner.bottom - outer.top) / outer.height];
        }})()""")
        return found

    def drop(self, file: Path) -> None:
        """Drop a file on the page."""
        held = {"items": [], "files": [str(file)], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.tab.ask("Input.dispatchDragEvent", type=kind, x=300, y=300, data=held)

    def violations(self) -> list[str]:
        """What axe finds wrong for people who cannot see, hear or use a mouse: what is serious or critical."""
        from axe_playwright_python.base import AXE_FILE_PATH

        if not self.tab.evaluate("Boolean(window.axe)"):
            self.tab.ask("Runtime.evaluate", expression=Path(AXE_FILE_PATH).read_text(encoding="utf-8"))
        found: list[str] = self.tab.evaluate(SERIOUS)
        return found


@contextmanager
def exploring(profile: Path, *asked: Any, flags: Sequence[str] = (), **settings: Any) -> Iterator[ExplorerPage]:
    """Inside, an explorer runs and its page is open in a browser.

    Args:
        profile: An empty folder for the browser's profile.
        flags: More of the browser's options.
        *asked: What ``cnnviz.explore`` is given.
        **settings: Its settings.
    """
    import cnnviz

    with cnnviz.explore(*asked, **settings) as explorer, browsing(installed() or "", profile, *flags) as tab:
        yield ExplorerPage(tab, explorer)

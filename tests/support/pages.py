"""Reading an HTML page as a person with a screen reader, or a network guard, would."""

from __future__ import annotations

import itertools
from html.parser import HTMLParser

ADDRESSES = ("src", "href", "srcset", "data", "action", "poster", "background", "xlink:href")
VOID = ("meta", "link", "img", "br", "hr", "input")


class Outline(HTMLParser):
    """A page's pictures, headings, ids and addresses.

    Attributes:
        images: Attributes of every picture.
        headings: Level and words of every heading, in order.
        ids: Every id.
        addresses: Everything that a browser could ask for.
        styles: All styles.
        unclosed: Elements that are open; none at the end.
    """

    def __init__(self) -> None:
        super().__init__()
        self.images: list[dict[str, str]] = []
        self.headings: list[tuple[int, str]] = []
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.styles = ""
        self.unclosed: list[str] = []
        self.crossed: list[str] = []

    @classmethod
    def of(cls, text: str) -> Outline:
        found = cls()
        found.feed(text)
        found.close()
        return found

    def handle_starttag(self, tag, attrs):
        held = {name: value or "" for name, value in attrs}
        if tag not in VOID:
            self.unclosed.append(tag)
        if tag == "img":
            self.images.append(held)
        if tag in ("h1", "h2", "h3", "h4", "h5", "h6"):
            self.headings.append((int(tag[1]), ""))
        self.ids += [held["id"]] if "id" in held else []
        self.addresses += [held[name] for name in ADDRESSES if name in held]
        self.styles += held.get("style", "")

    def handle_endtag(self, tag):
        if not self.unclosed or self.unclosed.pop() != tag:
            self.crossed.append(tag)

    def handle_data(self, data):
        if self.unclosed and self.unclosed[-1] in ("h1", "h2", "h3", "h4", "h5", "h6"):
            level, words = self.headings[-1]
            self.headings[-1] = (level, words + data)
        if self.unclosed and self.unclosed[-1] == "style":
            self.styles += data

    def problems(self) -> list[str]:
        """Everything that is wrong with it, in words."""
        levels = [level for level, _ in self.headings]
        inside = {f"#{each}" for each in self.ids}
        outer = [each for each in self.addresses if not each.startswith("data:") and each not in inside]
        return [
            *(f"not closed: {tag}" for tag in self.unclosed),
            *(f"closed elsewhere: {tag}" for tag in self.crossed),
            *(f"asked for: {each[:80]}" for each in outer),
            *(f"no alternative text: {each['src'][:40]}" for each in self.images if not each.get("alt", "").strip()),
            *(f"twice: {each}" for each in self.ids if self.ids.count(each) > 1),
            *([] if levels[:1] == [1] and levels.count(1) == 1 else ["the headings do not begin with the only h1"]),
            *(f"h{low} then h{high}" for low, high in itertools.pairwise(levels) if high > low + 1),
            *(["a style asks for something"] if "url(" in self.styles or "@import" in self.styles else []),
        ]

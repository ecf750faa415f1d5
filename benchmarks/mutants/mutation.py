"""A mutation: one exact place in the source where the arithmetic is made wrong."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["Mutation"]


@dataclass(frozen=True)
class Mutation:
    """One wrong piece of arithmetic.

    Attributes:
        name: In a few words.
        file: The source file, from the checkout's root.
        before: The right text, which stands in the file exactly once.
        after: The wrong text in its place.
        tests: What is to catch it: files of tests, or single tests as pytest names them.
        what: What goes wrong for whoever looks at the picture.
    """

    name: str
    file: str
    before: str
    after: str
    tests: tuple[str, ...]
    what: str

    def applied(self, root: Path) -> str:
        """The file's source with the wrong text in it.

        Raises:
            ValueError: If the right text does not stand in the file exactly once.
        """
        source = (root / self.file).read_text(encoding="utf-8")
        count = source.count(self.before)
        if count != 1:
            raise ValueError(f"'{self.name}': {self.before!r} stands {count} times in {self.file}; expected once.")
        return source.replace(self.before, self.after)

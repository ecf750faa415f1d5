"""The purse: so many forwards for all slow parts of a report, shared out evenly among those that are still to come."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Purse"]


@dataclass
class Purse:
    """Forwards that slow parts may spend.

    Attributes:
        left: How many there are; None where nobody counts.
        parts: How many slow parts are still to come.
    """

    left: int | None
    parts: int

    def grant(self, wanted: int) -> int:
        """As many of the wanted forwards as the next part gets; what it does not want is left for those after it."""
        share = wanted if self.left is None else min(wanted, self.left // max(1, self.parts))
        self.parts -= 1
        if self.left is not None:
            self.left -= share
        return share

    def give_back(self, count: int) -> None:
        """Return what a part was granted and did not spend."""
        if self.left is not None:
            self.left += count

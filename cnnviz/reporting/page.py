"""Report: everything that was asked of one network about a few pictures, as one page."""

from __future__ import annotations

import html
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, Self

from cnnviz.drawing.files import PAGE_SUFFIXES, ensure_writable, write_page
from cnnviz.drawing.pages.blocks import Chapter, Page
from cnnviz.drawing.pages.html import render
from cnnviz.provenance import Provenance

__all__ = ["Report", "Savable"]

CLOSING = "Every number and picture on this page was computed by the network named above; nothing was retouched."


class Savable(Protocol):
    """A result that can be saved as a picture."""

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write it; the suffix says how."""
        ...


@dataclass(frozen=True, eq=False)
class Report:
    """A page about one network and a few pictures, in chapters.

    Attributes:
        model: The network's name.
        lead: What the page is about, in a sentence.
        chapters: Its parts.
        figures: The pictures of its parts as results that can be saved on their own, by name.
        numbers: What the parts found, as plain values, by the part's name.
        checks: What the user should know, each with its part's name.
        failures: Pictures that could not be used, a sentence each.
        seconds: How long each part took; in no file.
        provenance: How it was made.
    """

    model: str
    lead: str
    chapters: tuple[Chapter, ...] = field(repr=False)
    figures: Mapping[str, Savable] = field(default_factory=dict, repr=False)
    numbers: Mapping[str, Any] = field(default_factory=dict, repr=False)
    checks: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict, repr=False)
    provenance: Provenance = field(default_factory=Provenance, repr=False)

    def html(self) -> str:
        """The page: one file that needs no other, no script and no network; the same text each time."""
        return render(
            Page(
                title=self.model,
                kicker="A report by cnnviz",
                lead=self.lead,
                chapters=self.chapters,
                notices=tuple(f"Left out: {sentence}" for sentence in self.failures),
                note=self.provenance.to_json(),
                closing=CLOSING,
            )
        )

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the page.

        Args:
            path: Ends in ``.html``; an existing file is replaced.

        Raises:
            OutputError: If the suffix is another or the file cannot be written.
        """
        where = Path(path)
        ensure_writable(where, force=True, suffixes=PAGE_SUFFIXES)
        write_page(where, self.html())
        return where

    def figure_files(self, folder: str | os.PathLike[str], suffix: str = ".png") -> tuple[Path, ...]:
        """Where :meth:`save_figures` writes to."""
        return tuple(Path(folder) / f"{name}{suffix}" for name in self.figures)

    def save_figures(self, folder: str | os.PathLike[str], suffix: str = ".png") -> tuple[Path, ...]:
        """Write the figures beside the page, each into a file of its part's name.

        Args:
            folder: An existing folder; files there are replaced.
            suffix: The format: .png, .jpg, .webp, .svg or .pdf.

        Raises:
            OutputError: If the suffix is another or a file cannot be written.
        """
        files = self.figure_files(folder, suffix)
        return tuple(figure.save(file) for figure, file in zip(self.figures.values(), files, strict=True))

    def without(self, failures: tuple[str, ...]) -> Self:
        """The same, naming pictures that could not be used."""
        return replace(self, failures=(*self.failures, *failures))

    def stamped(self, method: str, settings: Mapping[str, Any]) -> Self:
        """The same with method and settings in its provenance."""
        return replace(self, provenance=self.provenance.stamped(method, settings, self.checks))

    def describe(self) -> dict[str, Any]:
        """What there is to say without the page, as plain values."""
        return {
            "model": self.model,
            "sections": [chapter.key for chapter in self.chapters],
            "found": dict(self.numbers),
            "seconds": dict(self.seconds),
            "checks": list(self.checks),
            "failures": list(self.failures),
        }

    def _repr_html_(self) -> str:
        held = html.escape(self.html(), quote=True)
        return f'<iframe srcdoc="{held}" title="Report" style="width:100%;height:80vh;border:0"></iframe>'

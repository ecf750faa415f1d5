"""What settings of several methods are annotated with: choices by name, and nothing that loads a library."""

from __future__ import annotations

from typing import Literal, TypeAlias

__all__ = ["Channels", "Fuse", "Precision", "ScoreKind"]

Fuse: TypeAlias = Literal["mean", "max", "product"]
"""How the maps of several layers become one."""

Channels: TypeAlias = Literal["absolute", "signed", "colour"]
"""How the channels of attributions to pixels are drawn."""

ScoreKind: TypeAlias = Literal["probability", "logit", "log-probability"]
"""What the score of a class is."""

Precision: TypeAlias = Literal["full", "tf32", "bfloat16"]
"""What the forwards of changed pictures compute in."""

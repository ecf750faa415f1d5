"""A session as a file: how its networks are opened, its pictures, and what was looked at."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any, Final

from cnnviz.errors import PictureError, UsageError
from cnnviz.explorer.exploration import Exploration
from cnnviz.explorer.questions.drawings import encode

__all__ = ["MOST_FILE", "open_session", "save_session"]

LAYOUT: Final = 1
MOST_FILE: Final = 128 << 20
"""Bytes of a session's file."""
LONGEST_VIEW: Final = 2000


def save_session(exploration: Exploration, view: str) -> bytes:
    """The session as JSON.

    Args:
        exploration: What is explored.
        view: The address after ``#`` of what is looked at.

    Raises:
        UsageError: If its pictures make a larger file than can be opened again.
    """
    held = []
    for key in exploration.shelf.keys:
        content = exploration.shelf.content(key) or encode(exploration.shelf.picture(key).pixels)
        held.append({"name": key, "file": base64.b64encode(content).decode()})
    told = {
        "cnnviz_session": LAYOUT,
        "networks": [_identify(network.describe(), network.model.fingerprint()) for network in exploration.networks],
        "pictures": held,
        "view": view[:LONGEST_VIEW],
    }
    content = json.dumps(told).encode()
    if len(content) > MOST_FILE:
        raise UsageError(
            f"The pictures make a file of {len(content) >> 20} MB; sessions have at most {MOST_FILE >> 20} MB, so "
            "begin with fewer pictures or smaller ones."
        )
    return content


def _identify(told: Mapping[str, Any], weights: str) -> dict[str, Any]:
    return {**{name: told[name] for name in ("name", "command", "python")}, "weights_sha256": weights}


def open_session(exploration: Exploration, held: Mapping[str, Any]) -> dict[str, Any]:
    """Take the pictures of a session's file, and tell what was looked at.

    Args:
        exploration: What is explored.
        held: The file's JSON.

    Raises:
        UsageError: If it is no session.
    """
    pictures, networks = held.get("pictures"), held.get("networks")
    if held.get("cnnviz_session") != LAYOUT or not isinstance(pictures, list) or not isinstance(networks, list):
        raise UsageError("This is no session that the explorer has saved.")
    notes = _compare_networks(exploration, networks)
    keys = []
    for each in pictures:
        try:
            content = base64.b64decode(each["file"], validate=True)
            keys.append(exploration.shelf.drop(content, str(each["name"])))
        except (TypeError, KeyError, ValueError, binascii.Error):
            notes.append("a picture of the session is damaged, and left out")
        except PictureError as error:
            notes.append(str(error))
    view = held.get("view")
    return {
        "view": view[:LONGEST_VIEW] if isinstance(view, str) and view.startswith("#/") else "#/",
        "pictures": [exploration.describe_picture(key) for key in keys],
        "notes": notes,
    }


def _compare_networks(exploration: Exploration, networks: list[Any]) -> list[str]:
    """A sentence for every network that is another now."""
    own = [network.model.fingerprint() for network in exploration.networks]
    then = [each.get("weights_sha256") if isinstance(each, dict) else None for each in networks]
    if own == then:
        return []
    named = ", ".join(str(each.get("name"))[:80] for each in networks if isinstance(each, dict))
    opened = " ".join(str(each.get("command"))[:400] for each in networks if isinstance(each, dict))
    return [f"the session was saved with other networks or weights: {named}; to open it with those: {opened}"]

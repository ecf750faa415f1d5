"""Weights in torch's cache, or brought there."""

from __future__ import annotations

import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from urllib.parse import urlparse

import torch

from cnnviz.errors import WeightsError

__all__ = ["cached_file", "download", "is_reachable"]

PATIENCE_S = 10.0


def cached_file(url: str) -> Path | None:
    """The file of that address in torch's cache; None if it is not there."""
    file = _place(url)
    return file if file.is_file() else None


def download(url: str, network: str, megabytes: float | None = None) -> Path:
    """Bring a file into torch's cache, its hash checked.

    Args:
        url: Its address.
        network: The network it belongs to, for messages.
        megabytes: Its size, for messages.

    Raises:
        WeightsError: If it cannot be fetched, or not be saved; the message says where to put it by hand.
    """
    place = _place(url)
    hash_in_name = torch.hub.HASH_REGEX.search(place.name)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with _patience():
            torch.hub.download_url_to_file(
                url, str(place), hash_in_name.group(1) if hash_in_name else None, progress=sys.stderr.isatty()
            )
    except (urllib.error.URLError, ConnectionError, TimeoutError, HTTPException):
        size = f", {megabytes:.0f} MB" if megabytes else ""
        raise WeightsError(
            f"The weights of {network} ({place.name}{size}) are not in {place.parent}, and {urlparse(url).hostname} "
            "cannot be reached; put the file there, or take weights of your own or random ones (--weights none)."
        ) from None
    except RuntimeError:
        raise WeightsError(f"The weights of {network} arrived damaged ({place.name}); try again.") from None
    except OSError as error:
        raise WeightsError(f"The weights of {network} cannot be saved to {place.parent}: {error.strerror}.") from None
    return place


def is_reachable(url: str) -> bool:
    """Whether the host of an address answers at all."""
    request = urllib.request.Request(url, method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S):
            return True
    except urllib.error.HTTPError:
        return True
    except (OSError, HTTPException, ValueError):
        return False


def _place(url: str) -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(url).path).name


@contextmanager
def _patience() -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(PATIENCE_S)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)

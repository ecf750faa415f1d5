"""Weights in the caches of torch and of the Hugging Face hub, and their download; looking there needs no torch."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import urlparse

from cnnviz.core.capacity import ran_out_of_memory
from cnnviz.core.change import contextmanager, undoing
from cnnviz.errors import WeightsError

__all__ = ["cached_file", "cached_hub_file", "download", "is_reachable"]

PATIENCE_S = 10.0


def cached_file(url: str) -> Path | None:
    """The file of that address in torch's cache; None if it is not there."""
    file = _cache_file(url)
    return file if file.is_file() else None


def cached_hub_file(repository: str, files: Sequence[str]) -> Path | None:
    """The first of some files of a repository, ``owner/name`` or ``owner/name@revision``, in the hub's cache."""
    from huggingface_hub import constants

    name, _, revision = repository.partition("@")
    if not Path(constants.HF_HUB_CACHE, "--".join(["models", *name.split("/")])).is_dir():
        return None
    from huggingface_hub import try_to_load_from_cache

    paths = (try_to_load_from_cache(name, file, revision=revision or None) for file in files)
    return next((Path(path) for path in paths if isinstance(path, str)), None)


def download(url: str, network: str, megabytes: float | None = None) -> Path:
    """Bring a file into torch's cache, its hash checked.

    Args:
        url: Its address.
        network: The network it belongs to, for messages.
        megabytes: Its size, for messages.

    Raises:
        WeightsError: If it cannot be fetched, or not be saved; the message says where to put it by hand.
    """
    import urllib.error
    from http.client import HTTPException

    import torch

    place = _cache_file(url)
    hash_in_name = torch.hub.HASH_REGEX.search(place.name)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with _limit_waiting():
            torch.hub.download_url_to_file(
                url, str(place), hash_in_name.group(1) if hash_in_name else None, progress=sys.stderr.isatty()
            )
    except (urllib.error.URLError, ConnectionError, TimeoutError, HTTPException):
        size = f", {megabytes:.0f} MB" if megabytes else ""
        raise WeightsError(
            f"The weights of {network} ({place.name}{size}) are not in {place.parent}, and {urlparse(url).hostname} "
            "cannot be reached; put the file there, or take weights of your own or random ones (--weights none)."
        ) from None
    except RuntimeError as error:
        if ran_out_of_memory(error):
            raise
        raise WeightsError(f"The weights of {network} arrived damaged ({place.name}); try again.") from None
    except OSError as error:
        raise WeightsError(f"The weights of {network} cannot be saved to {place.parent}: {error.strerror}.") from None
    return place


def is_reachable(url: str) -> bool:
    """Whether the host of an address answers at all."""
    import urllib.error
    import urllib.request
    from http.client import HTTPException

    request = urllib.request.Request(url, method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S):
            return True
    except urllib.error.HTTPError:
        return True
    except (OSError, HTTPException, ValueError):
        return False


def _cache_file(url: str) -> Path:
    return _torch_hub_folder() / "checkpoints" / Path(urlparse(url).path).name


def _torch_hub_folder() -> Path:
    """The folder of torch's cache, which torch itself is asked for where it is loaded."""
    if "torch" in sys.modules:
        import torch

        return Path(torch.hub.get_dir())
    home = os.getenv("TORCH_HOME", f"{os.getenv('XDG_CACHE_HOME', '~/.cache')}/torch")
    return Path(home).expanduser() / "hub"


@contextmanager
def _limit_waiting() -> Iterator[None]:
    import socket

    before = socket.getdefaulttimeout()
    with undoing(lambda: socket.setdefaulttimeout(before)):
        socket.setdefaulttimeout(PATIENCE_S)
        yield

"""``explore``: a network and pictures live in the browser."""

from __future__ import annotations

import ipaddress
import os
import socket
import threading
import webbrowser
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any, Final, Self

from cnnviz.errors import UsageError
from cnnviz.method import check_network

if TYPE_CHECKING:
    from cnnviz.explorer.server import Server
    from cnnviz.images.datasets.dataset import Dataset
    from cnnviz.images.reading import ImagesLike
    from cnnviz.models.model import Model
    from cnnviz.results.patch_index import PatchIndex

__all__ = ["Explorer", "explore"]

HOME: Final = "127.0.0.1"
EVERYWHERE: Final = ("0.0.0.0", "::")
SCENES: Final = 6
"""Drawn scenes that stand in where no picture is given to a bundled network."""
SIDE: Final = 320
HEIGHT: Final = 720
"""Pixels of a scene's side, and of a frame's height."""


class Explorer:
    """A running explorer; in a notebook it shows itself in a frame.

    Attributes:
        host: Where it listens.
        port: Its port.
    """

    def __init__(self, server: Server, host: str) -> None:
        self._server, self.host, self.port = server, host, server.port

    @property
    def address(self) -> str:
        """The address without a token, for a browser that has opened it before."""
        named = HOME if self.host in EVERYWHERE else self.host
        return f"http://{f'[{named}]' if ':' in named else named}:{self.port}/"

    @property
    def url(self) -> str:
        """An address that opens it once; every one is another."""
        return f"{self.address}?token={self._server.keys.new_token()}"

    @property
    def running(self) -> bool:
        """Whether it answers."""
        return self._server.running

    @property
    def local(self) -> bool:
        """Whether only this machine reaches it."""
        return is_local(self.host)

    def open(self) -> bool:
        """Open it in the browser; whether there is one."""
        return webbrowser.open(self.url)

    def wait(self) -> None:
        """Wait until it is stopped, by another thread or an interrupt."""
        waiting = threading.Event()
        while self.running:
            waiting.wait(0.2)

    def stop(self) -> None:
        """Stop it; the networks are as they were."""
        self._server.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<Explorer {self.address}{'' if self.running else ', stopped'}>"

    def _repr_html_(self) -> str:
        """A frame with the explorer in it, for one showing."""
        token = self._server.keys.new_token("frame")
        prefix = os.environ.get("JUPYTERHUB_SERVICE_PREFIX")
        place = f"{prefix.rstrip('/')}/proxy/{self.port}/" if prefix else self.address
        address = escape(f"{place}?token={token}", quote=True)
        return f'<iframe src="{address}" width="100%" height="{HEIGHT}" title="cnnviz explorer"></iframe>'


def explore(
    model: Model | str | Sequence[Model | str] = "shapes-resnet",
    pictures: ImagesLike | None = None,
    *,
    data: Dataset | str | os.PathLike[str] | None = None,
    index: PatchIndex | str | os.PathLike[str] | None = None,
    host: str = HOME,
    port: int = 0,
    hosts: Sequence[str] = (),
    commands: Sequence[str] = (),
) -> Explorer:
    """Explore a network and pictures live in the browser: classes, maps, layers, units.

    Returns at once; in a notebook the result shows itself in a frame, elsewhere its ``url`` is opened in a browser. The
    networks are asked on a thread of the explorer's own and stay as they are.

    Args:
        model: The network, or its name, or two of them to be shown side by side.
        pictures: Pictures to begin with, as all methods take them; default: drawn scenes for a bundled network, none
            for any other. More can be dropped into the page.
        data: A data set, for its pictures and for top patches of units.
        index: An index of patches, or the folder that ``patches`` wrote it to.
        host: Where to listen. Other machines reach any other than the default; whoever sees the address can then ask.
        port: The port; 0 takes a free one.
        hosts: Names that it is reached by besides, such as that of a notebook server that stands before it.
        commands: For each network the options of the command line that open it, where a name does not say it.

    Returns:
        The running explorer.

    Raises:
        MissingExtraError: If the optional libraries are not installed.
        UsageError: If there are more than two networks, or one takes no pictures.
        OutputError: If the port is taken, or the index cannot be read.
        CnnvizError: If a network, a picture or the data set cannot be opened.
    """
    from cnnviz.explorer.exploration import Exploration, need_server

    need_server()
    from cnnviz.explorer.server import Server, open_socket
    from cnnviz.images.datasets.open import open_dataset
    from cnnviz.results.patch_index import PatchIndex

    models = _open_models(model)
    held = index if index is None or isinstance(index, PatchIndex) else PatchIndex.read(index)
    opened = None if data is None else open_dataset(data, entrance=models[0].preprocess.entrance)
    shown = _gather_pictures(models[0], pictures)
    exploration = Exploration(models, shown, commands=commands, data=opened, index=held)
    local = is_local(host)
    known = [*hosts, *([] if local else [host, socket.gethostname(), socket.getfqdn()])]
    try:
        server = Server(exploration, open_socket(host, port), known, anywhere=not local)
        server.start()
    except BaseException:
        exploration.worker.stop()
        raise
    return Explorer(server, host)


def is_local(host: str) -> bool:
    """Whether only this machine reaches what listens there."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _open_models(given: Any) -> list[Model]:
    from cnnviz.models.load import load_model

    several = given if isinstance(given, (list, tuple)) else [given]
    if not several:
        raise UsageError("The explorer needs a network.")
    models: list[Model] = []
    for each in several:
        opened = load_model(each) if isinstance(each, str) else each
        check_network(opened)
        models.append(opened)
    return models


def _gather_pictures(model: Model, given: ImagesLike | None) -> list[Any]:
    """The pictures to begin with."""
    from cnnviz.core.picture import Picture
    from cnnviz.images.inputs import gather
    from cnnviz.images.synthetic.scenes import draw_scene

    if given is None:
        if model.origin.get("source") != "bundled" or not str(model.opening.get("model", "")).startswith("shapes"):
            return []
        scenes = [draw_scene(number, size=SIDE) for number in range(SCENES)]
        return [Picture(scene.pixels, f"scene-{scene.index}.png") for scene in scenes]
    if isinstance(given, (list, tuple)) and not given:
        return []
    found = gather(given, model.preprocess.entrance)
    if not all(isinstance(each, Picture) for each in found):
        raise UsageError("The explorer shows pictures; a float tensor is network input, of which none can be shown.")
    return list(found)

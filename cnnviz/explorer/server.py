"""The server: the page's own files and the routes behind the guard, on a thread of its own."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import uvicorn
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from cnnviz.errors import OutputError
from cnnviz.explorer.exploration import Exploration
from cnnviz.explorer.guard import Guard, Keyring
from cnnviz.explorer.job_routes import job_routes
from cnnviz.explorer.routes import make_app

__all__ = ["STATIC", "Server", "open_socket"]

STATIC: Final = Path(__file__).parent / "static"
TYPES: Final = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
STOPPING: Final = 10.0
"""Seconds until a server that does not end is left to itself."""
STARTING: Final = 20.0
"""Seconds that it may take to start."""


def open_socket(host: str, port: int) -> socket.socket:
    """A socket that listens there.

    Args:
        host: The name or number to listen at.
        port: The port; 0 for a free one.

    Raises:
        OutputError: If there is no such name, or the port is taken.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        opened = socket.socket(family, kind)
    except (OSError, UnicodeError) as error:
        raise OutputError(f"There is no host '{host}' to listen at ({error}).") from error
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(address)
    except OSError as error:
        opened.close()
        raise OutputError(f"Port {port} of {host} cannot be used ({error.strerror}); choose another.") from error
    return opened


class Server:
    """A running server.

    Attributes:
        keys: Its tokens.
        port: Where it listens.

    Args:
        exploration: What it answers about.
        listening: Its socket.
        hosts: Names that it is reached by, besides this machine's to itself.
        anywhere: Whether it listens to other machines.
    """

    def __init__(
        self, exploration: Exploration, listening: socket.socket, hosts: Iterable[str] = (), *, anywhere: bool = False
    ) -> None:
        self._exploration, self._socket = exploration, listening
        self.keys, self.port = Keyring(), int(listening.getsockname()[1])
        routes = [*job_routes(exploration), *_page_routes(self.keys)]
        app = Guard(make_app(exploration, routes), self.keys, hosts, anywhere=anywhere)
        settings = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            log_level="critical",
            server_header=False,
            proxy_headers=False,
            lifespan="off",
            ws="none",
            timeout_graceful_shutdown=1,
        )
        self._uvicorn = uvicorn.Server(settings)
        self._thread = threading.Thread(
            target=lambda: self._uvicorn.run(sockets=[listening]), name="cnnviz explorer server", daemon=True
        )

    def start(self) -> None:
        """Answer from now on.

        Raises:
            OutputError: If it does not start.
        """
        self._thread.start()
        end = time.monotonic() + STARTING
        while not self._uvicorn.started:
            if time.monotonic() > end or not self._thread.is_alive():
                raise OutputError("The explorer's server does not start.")
            time.sleep(0.01)

    @property
    def running(self) -> bool:
        """Whether it answers."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Stop answering, and wait until the networks are as they were."""
        self._uvicorn.should_exit = True
        self._exploration.worker.stop()
        if self._thread.is_alive():
            self._thread.join(STOPPING)
        self._socket.close()


def _page_routes(keys: Keyring) -> list[Route]:
    """The page's own files, by their names: nothing else of the file system can be asked for."""
    files = (path for path in STATIC.rglob("*") if path.suffix in TYPES and path.is_file())
    places = {path.relative_to(STATIC).as_posix(): path for path in files}

    async def page(request: Request) -> Response:
        text = places["index.html"].read_text(encoding="utf-8")
        once = request.scope.get("explorer_script")
        if once:
            text = text.replace('src="config.js"', f'src="config.js?once={once}"')
        return Response(text, media_type="text/html")

    async def config(request: Request) -> Response:
        token = keys.header if request.scope.get("explorer_frame") else None
        return Response(f"window.EXPLORER_TOKEN = {json.dumps(token)};\n", media_type="text/javascript")

    async def file(request: Request) -> Response:
        path = places.get(request.path_params["path"])
        if path is None:
            return JSONResponse({"error": "There is nothing here."}, 404)
        return Response(path.read_bytes(), media_type=TYPES[path.suffix])

    own: list[Any] = [Route("/", page), Route("/config.js", config), Route("/{path:path}", file)]
    return own

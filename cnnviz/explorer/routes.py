"""Addresses and what they answer: one thin layer over the questions, in plain values and PNG files."""

from __future__ import annotations

import asyncio
import base64
import binascii
import io
import json
import math
import threading
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from cnnviz.core.capacity import ran_out_of_memory
from cnnviz.core.untrusted import parse_json
from cnnviz.errors import CnnvizError, ParameterError, PictureError, UnknownNameError, UsageError
from cnnviz.explorer.exploration import Exploration, ExploredNetwork
from cnnviz.explorer.pictures import DATA, MOST_BYTES
from cnnviz.explorer.questions.drawings import LONGEST_SIDE, Drawn, encode, shrink
from cnnviz.explorer.questions.layer_answers import layer_of, layers_of, place_of
from cnnviz.explorer.questions.made_answers import patches_of
from cnnviz.explorer.questions.picture_answers import classes_of, geometry_of, hide, input_of, map_of, read_mask
from cnnviz.explorer.questions.unit_answers import unit_of
from cnnviz.explorer.saved import MOST_FILE, open_session, save_session
from cnnviz.explorer.worker import Task
from cnnviz.images.reading import decode_picture

if TYPE_CHECKING:
    from cnnviz.core.picture import Picture

__all__ = [
    "PlainResponse",
    "TooLargeError",
    "ask_worker",
    "make_app",
    "read_body",
    "read_json",
    "safely",
    "text_of",
    "whole_number",
]

T = TypeVar("T")
Answering = Callable[[Request], Awaitable[Response]]

MOST_JSON: Final = 4 << 20
PATIENCE: Final = 0.25
"""Seconds until it is looked again whether the browser still waits."""
PNG: Final = "image/png"
DRAWING: Final = threading.Lock()
"""One figure is drawn at a time: matplotlib's settings are those of the whole process."""
KINDS: Final = {"png": PNG, "svg": "image/svg+xml", "pdf": "application/pdf"}


class TooLargeError(UsageError):
    """What the browser sends is larger than it may be."""


class PlainResponse(JSONResponse):
    """Plain values as JSON, in which numbers that are none stand as null."""

    def render(self, content: Any) -> bytes:
        """The bytes."""
        return super().render(_with_nulls(content))


def _with_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _with_nulls(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_with_nulls(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


class GoneError(UnknownNameError):
    """An answer that is not kept any more, or never was."""

    def __init__(self) -> None:
        super().__init__("answer", "that", (), "It may not be kept any longer; ask again.")


def make_app(exploration: Exploration, pages: list[Route]) -> Starlette:
    """The application that answers about an exploration.

    Args:
        exploration: What is explored.
        pages: Routes of the page itself, which come last.
    """
    of_picture = "/api/networks/{network:int}/pictures/{key}"
    known: list[tuple[str, str, Callable[[Exploration, Request], Awaitable[Response]]]] = [
        ("/api/session", "GET", answer_session),
        ("/api/pictures", "POST", answer_drop),
        ("/api/pictures/{key}.png", "GET", answer_picture),
        (f"{of_picture}/input.png", "GET", answer_input),
        (f"{of_picture}/geometry", "GET", answer_geometry),
        (f"{of_picture}/classes", "GET", answer_classes),
        (f"{of_picture}/hide", "POST", answer_hide),
        (f"{of_picture}/map", "GET", answer_map),
        ("/api/networks/{network:int}/layers", "GET", answer_layers),
        (f"{of_picture}/layers/{{layer}}", "GET", answer_layer),
        (f"{of_picture}/layers/{{layer}}/place", "GET", answer_place),
        ("/api/networks/{network:int}/layers/{layer}/units/{unit:int}", "GET", answer_unit),
        ("/api/networks/{network:int}/layers/{layer}/units/{unit:int}/patches", "GET", answer_patches),
        ("/api/data", "GET", answer_data),
        ("/api/session/file", "GET", answer_save),
        ("/api/session/file", "POST", answer_open),
        ("/api/images/{name}.map.png", "GET", answer_plain),
        ("/api/images/{name}.png", "GET", answer_image),
        ("/api/arrays/{name}", "GET", answer_array),
        ("/api/figures", "GET", answer_figure),
    ]
    routes = [Route(path, safely(partial(answer, exploration)), methods=[way]) for path, way, answer in known]
    return Starlette(routes=[*routes, *pages])


def safely(answer: Answering) -> Answering:
    """An answer that ends as a sentence, whatever goes wrong."""

    async def answering(request: Request) -> Response:
        try:
            return await answer(request)
        except CnnvizError as error:
            return PlainResponse({"error": str(error)}, _status_of(error))
        except (ClientDisconnect, asyncio.CancelledError, KeyboardInterrupt):
            return PlainResponse({"error": "It was cancelled."}, 409)
        except Exception as error:  # noqa: BLE001 - a browser gets a sentence, and never a traceback
            if ran_out_of_memory(error):
                return PlainResponse({"error": "There is not enough memory for this answer."}, 413)
            said = f"internal error ({type(error).__name__}: {error}); please report it"
            return PlainResponse({"error": " ".join(said.split())}, 500)

    return answering


def _status_of(error: CnnvizError) -> int:
    if isinstance(error, TooLargeError):
        return 413
    if isinstance(error, UnknownNameError):
        return 404
    return 400 if isinstance(error, PictureError) else 422


async def ask_worker(exploration: Exploration, request: Request, ask: Callable[[], T]) -> T:
    """What the worker's thread answers; a question whose browser has gone is left out."""
    task: Task[T] = exploration.worker.submit(partial(_ask_in_steps, ask))
    waiting = asyncio.wrap_future(task.future)
    while True:
        done, _ = await asyncio.wait([waiting], timeout=PATIENCE)
        if done:
            return await waiting
        if await request.is_disconnected():
            task.cancel()
            waiting.cancel()
            raise ClientDisconnect


def _ask_in_steps(ask: Callable[[], T], task: Task[T]) -> T:
    """Ask, and stop between two steps once nobody waits."""
    from cnnviz.engine.batching import progress_to

    with progress_to(task.step):
        return ask()


async def read_body(request: Request, most: int) -> bytes:
    """The body of a request.

    Raises:
        TooLargeError: If it is larger than that.
    """
    told = request.headers.get("content-length", "0")
    if told.isascii() and told.isdigit() and int(told[:20]) > most:
        raise TooLargeError(f"This has more than {most >> 20} MB; expected less.")
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > most:
            raise TooLargeError(f"This has more than {most >> 20} MB; expected less.")
    return bytes(body)


async def read_json(request: Request, most: int = MOST_JSON) -> dict[str, Any]:
    """The mapping in a request's body.

    Raises:
        UsageError: If it is none.
        TooLargeError: If it is larger than that.
    """
    try:
        held = parse_json(await read_body(request, most))
    except ValueError:
        held = None
    if not isinstance(held, dict):
        raise UsageError("The question is no JSON mapping.")
    return held


def text_of(request: Request, name: str) -> str:
    """A text of the address's query; empty where it is left out."""
    return request.query_params.get(name, "")


def whole_number(request: Request, name: str, default: int, low: int, high: int) -> int:
    """A whole number of the address's query.

    Raises:
        ParameterError: If it is none, or out of bounds.
    """
    text = text_of(request, name)
    if not text:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 9 or not low <= int(text) <= high:
        raise ParameterError(f"{name} must be a whole number from {low} to {high}; got {text[:20]!r}.")
    return int(text)


def _number_of(request: Request, name: str) -> float:
    try:
        number = float(text_of(request, name)[:40])
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ParameterError(f"{name} must be a number; got {text_of(request, name)[:20]!r}.")
    return number


def _network_of(exploration: Exploration, request: Request) -> ExploredNetwork:
    return exploration.network(request.path_params["network"])


async def _picture_of(exploration: Exploration, request: Request) -> Picture:
    return await run_in_threadpool(exploration.shelf.picture, request.path_params["key"])


def _side_of(request: Request) -> int | None:
    return whole_number(request, "side", 0, 1, LONGEST_SIDE) or None


async def answer_session(exploration: Exploration, _: Request) -> Response:
    """What the page shows first; it waits for no long task."""
    return PlainResponse(await run_in_threadpool(exploration.describe))


async def answer_drop(exploration: Exploration, request: Request) -> Response:
    """Take a picture from the browser."""
    name = text_of(request, "name") or "picture"
    content = await read_body(request, MOST_BYTES)
    key = await run_in_threadpool(exploration.shelf.drop, content, name)
    return PlainResponse(await run_in_threadpool(exploration.describe_picture, key))


async def answer_picture(exploration: Exploration, request: Request) -> Response:
    """A picture as a PNG file."""
    picture, side = await _picture_of(exploration, request), _side_of(request)
    return Response(await run_in_threadpool(lambda: encode(shrink(picture.pixels, side))), media_type=PNG)


async def answer_input(exploration: Exploration, request: Request) -> Response:
    """The network's own input as a PNG file."""
    network, picture = _network_of(exploration, request), await _picture_of(exploration, request)
    return Response(await run_in_threadpool(lambda: encode(input_of(network, picture))), media_type=PNG)


async def answer_geometry(exploration: Exploration, request: Request) -> Response:
    """Where on a picture the network's input lies."""
    network, picture = _network_of(exploration, request), await _picture_of(exploration, request)
    return PlainResponse(geometry_of(network, picture))


async def answer_classes(exploration: Exploration, request: Request) -> Response:
    """The first classes of a picture."""
    network, key = _network_of(exploration, request), request.path_params["key"]
    top, also = whole_number(request, "top", 10, 1, 1000), text_of(request, "also")
    return PlainResponse(
        await ask_worker(exploration, request, partial(classes_of, exploration, network, key, top, also))
    )


async def answer_hide(exploration: Exploration, request: Request) -> Response:
    """The classes before and after some of the input is hidden."""
    network, key = _network_of(exploration, request), request.path_params["key"]
    asked = await read_json(request)
    if not isinstance(asked.get("strokes", []), list):
        raise ParameterError("strokes is a list of discs.")
    if "mask" in asked:
        asked["mask"] = await run_in_threadpool(_decode_mask, asked["mask"])
    return PlainResponse(await ask_worker(exploration, request, lambda: hide(exploration, network, key, asked)))


def _decode_mask(text: Any) -> Any:
    try:
        content = base64.b64decode(str(text).partition(",")[2] or str(text), validate=True)
    except (binascii.Error, ValueError):
        raise ParameterError("mask is a PNG file in base64.") from None
    file: Any = io.BufferedReader(io.BytesIO(content))
    return read_mask(decode_picture(file, "mask", background=(0, 0, 0), most=MOST_JSON).pixels)


async def answer_map(exploration: Exploration, request: Request) -> Response:
    """A method's map of a target on a picture."""
    network, key = _network_of(exploration, request), request.path_params["key"]
    asked: dict[str, Any] = {name: text_of(request, name) for name in ("method", "target", "layer")}
    try:
        asked["settings"] = parse_json(text_of(request, "settings") or "{}")
    except ValueError:
        asked["settings"] = None
    if not isinstance(asked["settings"], Mapping):
        raise ParameterError('settings are JSON, such as {"window": 48}.')
    return PlainResponse(await ask_worker(exploration, request, lambda: map_of(exploration, network, key, asked)))


async def answer_layers(exploration: Exploration, request: Request) -> Response:
    """The network's layers, which were found when the exploration began."""
    return PlainResponse(await run_in_threadpool(layers_of, _network_of(exploration, request)))


async def answer_layer(exploration: Exploration, request: Request) -> Response:
    """The maps of all units of a layer on a picture."""
    network, key, layer = _network_of(exploration, request), request.path_params["key"], request.path_params["layer"]
    target, shared = text_of(request, "target"), text_of(request, "scale") == "shared"
    ask = partial(layer_of, exploration, network, key, layer, target=target, shared=shared)
    return PlainResponse(await ask_worker(exploration, request, ask))


async def answer_place(exploration: Exploration, request: Request) -> Response:
    """What responds at a place of the network's input."""
    network, key, layer = _network_of(exploration, request), request.path_params["key"], request.path_params["layer"]
    at = _number_of(request, "x"), _number_of(request, "y")
    ask = partial(place_of, exploration, network, key, layer, at)
    return PlainResponse(await ask_worker(exploration, request, ask))


async def answer_unit(exploration: Exploration, request: Request) -> Response:
    """Everything about one unit."""
    network, place = _network_of(exploration, request), (request.path_params["layer"], request.path_params["unit"])
    key, target = text_of(request, "picture"), text_of(request, "target")
    ask = partial(unit_of, exploration, network, key, place, target)
    return PlainResponse(await ask_worker(exploration, request, ask))


async def answer_patches(exploration: Exploration, request: Request) -> Response:
    """The top patches of one unit."""
    network, place = _network_of(exploration, request), (request.path_params["layer"], request.path_params["unit"])
    return PlainResponse(await ask_worker(exploration, request, partial(patches_of, exploration, network, *place)))


async def answer_data(exploration: Exploration, request: Request) -> Response:
    """Some of the data set's pictures by name."""
    data = exploration.data
    if data is None:
        raise UsageError("There is no data set; start the explorer with --data.")
    start = whole_number(request, "from", 0, 0, max(len(data), 1))
    count = whole_number(request, "count", 48, 1, 500)
    rows = range(start, min(start + count, len(data)))
    keys = [(f"{DATA}{row}", data.keys[row]) for row in rows]
    told = [{"key": key, "name": name, "label": exploration.shelf.label(key)} for key, name in keys]
    return PlainResponse({"pictures": told, "total": len(data)})


async def answer_save(exploration: Exploration, request: Request) -> Response:
    """The session as a file to be kept."""
    content = await run_in_threadpool(save_session, exploration, text_of(request, "view"))
    headers = {"content-disposition": 'attachment; filename="session.cnnviz.json"'}
    return Response(content, media_type="application/json", headers=headers)


async def answer_open(exploration: Exploration, request: Request) -> Response:
    """Open a session's file."""
    held = await read_json(request, MOST_FILE)
    return PlainResponse(await run_in_threadpool(open_session, exploration, held))


async def answer_image(exploration: Exploration, request: Request) -> Response:
    """A picture that belongs to an answer."""
    found, side = exploration.cache.find(request.path_params["name"]), _side_of(request)
    if not isinstance(found, Drawn):
        raise GoneError
    return Response(await run_in_threadpool(lambda: encode(found.draw(side))), media_type=PNG)


async def answer_plain(exploration: Exploration, request: Request) -> Response:
    """A map alone, transparent where there is nothing to see."""
    found, side = exploration.cache.find(request.path_params["name"]), _side_of(request)
    alone = found.alone if isinstance(found, Drawn) else None
    if alone is None:
        raise GoneError
    return Response(await run_in_threadpool(lambda: encode(alone(side))), media_type=PNG)


async def answer_array(exploration: Exploration, request: Request) -> Response:
    """Numbers that belong to an answer: little-endian float32."""
    found = exploration.cache.find(request.path_params["name"])
    if not isinstance(found, bytes):
        raise GoneError
    return Response(found, media_type="application/octet-stream")


async def answer_figure(exploration: Exploration, request: Request) -> Response:
    """A result as the figure that ``save`` writes, to be kept."""
    format_ = text_of(request, "format") or "png"
    found = exploration.cache.find(f"{text_of(request, 'of')}.result")
    if format_ not in KINDS:
        raise ParameterError(f"format must be one of {', '.join(KINDS)}; got {format_[:20]!r}.")
    if found is None:
        raise GoneError
    content = await run_in_threadpool(_save_figure, found, format_)
    name = json.dumps(f"{found.provenance.method or 'figure'}.{format_}")
    return Response(content, media_type=KINDS[format_], headers={"content-disposition": f"attachment; filename={name}"})


def _save_figure(found: Any, format_: str) -> bytes:
    from pathlib import Path
    from tempfile import TemporaryDirectory

    with DRAWING, TemporaryDirectory() as folder:
        written: Path = found.save(Path(folder) / f"figure.{format_}")
        return written.read_bytes()

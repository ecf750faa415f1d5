"""Who may ask: whoever opened the address with its token, from a page of this server; all others get one sentence."""

from __future__ import annotations

import ipaddress
import json
import secrets
import threading
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from hmac import compare_digest
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

__all__ = ["HEADER", "Guard", "Keyring"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

HEADER: Final = "x-explorer-token"
LOCAL: Final = ("127.0.0.1", "localhost", "::1")
MOST_TOKENS: Final = 64
"""Addresses handed out and not opened yet."""
ONWARD: Final = b'<!doctype html><meta http-equiv="refresh" content="0; url=./"><title>cnnviz</title>'
"""The page that leads on to the page without the token."""
NOTEBOOKS: Final = "'self' http://localhost:* http://127.0.0.1:* https://localhost:* https://127.0.0.1:*"
"""Pages that may show the explorer in a frame, once a notebook has asked for one."""


class Keyring:
    """Tokens of addresses, each spent once, and the two secrets that they are exchanged for.

    Attributes:
        framed: Whether a notebook has asked for a frame; only then may pages show one.
    """

    def __init__(self) -> None:
        self._unspent: list[tuple[str, str]] = []
        self._lock = threading.Lock()
        self.cookie, self.header = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        self.cookie_name = f"cnnviz-{secrets.token_hex(4)}"
        self.framed = False

    def new_token(self, purpose: str = "page") -> str:
        """A token for one visit: of the ``page``, of a page in a ``frame``, or of the ``script`` of one."""
        token = secrets.token_urlsafe(32)
        with self._lock:
            self._unspent = [*self._unspent[1 - MOST_TOKENS :], (purpose, token)]
            self.framed = self.framed or purpose == "frame"
        return token

    def spend(self, token: str, purpose: str) -> bool:
        """Whether there is such a token; from now on there is not. Every one is compared, in constant time."""
        with self._lock:
            fits = [compare_digest(token.encode(), own.encode()) and kind == purpose for kind, own in self._unspent]
            self._unspent = [each for each, fit in zip(self._unspent, fits, strict=True) if not fit]
        return any(fits)

    def admits(self, cookies: Iterable[str], header: str | None) -> bool:
        """Whether a request carries the cookie or, from a frame, the header."""
        known = [compare_digest(each.encode(), self.cookie.encode()) for each in cookies]
        known.append(header is not None and compare_digest(header.encode(), self.header.encode()))
        return any(known)


class Guard:
    """Lets through what may be asked, and says to the browser what it may do with the answers.

    Args:
        app: What answers.
        keys: Tokens and secrets.
        hosts: Names, besides those of this machine to itself, that the server is reached by.
        anywhere: Whether it is reached by numbers too, such as ``192.168.0.7``: it listens to other machines.
    """

    def __init__(self, app: Any, keys: Keyring, hosts: Iterable[str] = (), *, anywhere: bool = False) -> None:
        self._app, self._keys, self._anywhere = app, keys, anywhere
        self._hosts = {*LOCAL, *(host.lower() for host in hosts)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        headers = _read_headers(scope)
        sentence = self._refuse_origin(headers)
        if sentence:
            await self._refuse(send, sentence)
            return
        token = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        if scope["path"] == "/" and token and await self._exchange(token, headers, scope, send):
            return
        if not self._known(scope, headers):
            said = "This explorer opens with the address that it printed, once; ask the one who started it for another."
            await self._refuse(send, said)
            return
        await self._app(scope, receive, self._with_policy(send))

    def _refuse_origin(self, headers: dict[str, list[str]]) -> str:
        """A sentence for a request that came by another name, or from a page of another server; else empty."""
        named = headers.get("host", [])
        if len(named) != 1 or not self._is_ours(named[0]):
            return "This name is not one of this explorer's; open the address that it printed."
        origins = headers.get("origin", [])
        if origins and any(urlsplit(origin).netloc.lower() != named[0].lower() for origin in origins):
            return "This was asked by a page of another server."
        asking = headers.get("sec-fetch-site", ["none"])[0]
        navigating = headers.get("sec-fetch-mode", [""])[0] == "navigate"
        if asking not in ("same-origin", "none") and not navigating:
            return "This was asked by a page of another server."
        return ""

    def _is_ours(self, named: str) -> bool:
        try:
            host = (urlsplit(f"//{named}").hostname or "").lower()
        except ValueError:
            return False
        if host in self._hosts:
            return True
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return False
        return self._anywhere

    def _known(self, scope: Scope, headers: dict[str, list[str]]) -> bool:
        cookies = [
            value
            for line in headers.get("cookie", [])
            for name, _, value in (part.strip().partition("=") for part in line.split(";"))
            if name == self._keys.cookie_name
        ]
        header = headers.get(HEADER, [None])[0]
        if self._keys.admits(cookies, header):
            return True
        query = parse_qs(scope["query_string"].decode("latin-1"))
        path, get = scope["path"], scope["method"] == "GET"
        if self._keys.framed and get and path == "/config.js":
            once = query.get("once", [""])[0]
            scope["explorer_frame"] = bool(once) and self._keys.spend(once, "script")
            return bool(scope["explorer_frame"])
        named = path.removeprefix("/views").removeprefix("/")
        return self._keys.framed and get and "/" not in named and named.endswith((".js", ".css"))

    async def _exchange(self, token: str, headers: dict[str, list[str]], scope: Scope, send: Send) -> bool:
        """Spend the token of an address: for a cookie, or in a frame for the header that its page sends."""
        if scope["method"] != "GET":
            return False
        if self._keys.spend(token, "frame"):
            scope["explorer_frame"] = True
            scope["explorer_script"] = self._keys.new_token("script")
            await self._app(scope, _nothing, self._with_policy(send))
            return True
        if not self._keys.spend(token, "page") and not self._known(scope, headers):
            return False
        cookie = f"{self._keys.cookie_name}={self._keys.cookie}; HttpOnly; SameSite=Strict"
        kept = (b"set-cookie", cookie.encode())
        if headers.get("sec-fetch-site", ["none"])[0] in ("none", "same-origin"):
            await self._reply(send, 303, b"", [(b"location", b"./"), kept])
        else:  # a browser would not send the cookie where another site's link led to a redirect
            await self._reply(send, 200, ONWARD, [kept], kind=b"text/html")
        return True

    def _policy(self) -> list[tuple[bytes, bytes]]:
        frames = NOTEBOOKS if self._keys.framed else "'none'"
        rules = (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
            "media-src 'self' blob:; connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'none'; "
            f"frame-ancestors {frames}"
        )
        return [
            (b"content-security-policy", rules.encode()),
            (b"referrer-policy", b"no-referrer"),
            (b"x-content-type-options", b"nosniff"),
            (b"cross-origin-resource-policy", b"same-origin"),
            (b"cache-control", b"no-store"),
        ]

    def _with_policy(self, send: Send) -> Send:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = {name for name, _ in message["headers"]}
                message["headers"] = [
                    *message["headers"], *(each for each in self._policy() if each[0] not in own),
                ]  # fmt: skip
            await send(message)

        return sending

    async def _refuse(self, send: Send, sentence: str) -> None:
        await self._reply(send, 403, json.dumps({"error": sentence}).encode(), kind=b"application/json")

    async def _reply(
        self,
        send: Send,
        status: int,
        body: bytes,
        more: Iterable[tuple[bytes, bytes]] = (),
        *,
        kind: bytes = b"text/plain",
    ) -> None:
        length = (b"content-length", str(len(body)).encode())
        headers = [(b"content-type", kind), length, *more, *self._policy()]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def _read_headers(scope: Scope) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in scope["headers"]:
        found.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
    return found


async def _nothing() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}

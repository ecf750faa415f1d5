"""A visitor of a running explorer: its requests as a browser makes them, and forged ones."""

from __future__ import annotations

import http.client
import json
from typing import Any
from urllib.parse import quote, urlsplit


class Visitor:
    """Asks an explorer, with the cookie that its address was exchanged for.

    Args:
        explorer: A running explorer.
        enter: Whether to open its address first.
    """

    def __init__(self, explorer: Any, *, enter: bool = True) -> None:
        self.port, self.cookie = explorer.port, ""
        if enter:
            self.enter(explorer.url)

    def enter(self, url: str) -> tuple[int, dict[str, str], bytes]:
        """Open an address with its token, and keep the cookie."""
        parts = urlsplit(url)
        answer = self.ask(f"{parts.path}?{parts.query}")
        self.cookie = answer[1].get("set-cookie", self.cookie).partition(";")[0]
        return answer

    def ask(
        self, path: str, body: bytes | None = None, method: str | None = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of an answer; names of headers are written with underscores."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.cookie and "cookie" not in sent:
            sent["cookie"] = self.cookie
        try:
            connection.request(method or ("GET" if body is None else "POST"), path, body, sent)
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def get(self, path: str, **query: Any) -> Any:
        """The JSON of an answer that succeeds."""
        status, _, content = self.ask(f"/{path}{spell(query)}")
        assert status == 200, content
        return json.loads(content)

    def refused(self, path: str, body: bytes | None = None, **headers: str) -> tuple[int, str]:
        """Status and sentence of an answer that does not."""
        status, _, content = self.ask(f"/{path}", body, **headers)
        assert status >= 400, content
        return status, json.loads(content)["error"]

    def post(self, path: str, asked: Any) -> Any:
        """The JSON of an answer to JSON."""
        status, _, content = self.ask(f"/{path}", json.dumps(asked).encode())
        assert status == 200, content
        return json.loads(content)

    def file(self, path: str) -> bytes:
        """A file that is answered."""
        status, _, content = self.ask(f"/{path}")
        assert status == 200, content
        return content

    def watch(self, job: str, until: Any = None) -> list[dict[str, Any]]:
        """The news of a job until it ends, or until some news say so; then the connection is closed."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        found = []
        try:
            connection.request("GET", f"/api/jobs/{job}/events", headers={"cookie": self.cookie})
            answer = connection.getresponse()
            for line in answer:
                if line.startswith(b"data:"):
                    found.append(json.loads(line[5:]))
                    if until is not None and until(found[-1]):
                        break
            return found
        finally:
            connection.close()


def spell(query: dict[str, Any]) -> str:
    """A query as an address has it."""
    return "?" + "&".join(f"{name}={quote(str(value), safe='')}" for name, value in query.items()) if query else ""


def picture(key: str, network: int = 0) -> str:
    """The beginning of a picture's addresses."""
    return f"api/networks/{network}/pictures/{quote(key, safe='')}"

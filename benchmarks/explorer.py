"""How quickly the explorer answers, beside what the network itself takes, through its own server.

Every number is the median of 20 questions to a warm server, asked in turn; a forward is the network's own on one
picture, with the same threads. Pictures are shown at most 1,024 pixels wide or high.

CNNVIZ_REAL=FOLDER python -m benchmarks.explorer [--threads 2]
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
from itertools import count
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import torch

import cnnviz
from benchmarks.measuring import interleaved, machine

TIMES: Final = 20
SIDE: Final = 1024
LAYER: Final = "features.18"
"""1,280 units of mobilenet_v2."""


class Visitor:
    """Asks a running explorer over one connection, as a browser does."""

    def __init__(self, explorer: cnnviz.Explorer) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", explorer.port)
        self._cookie = ""
        _, headers = self._ask(explorer.url.removeprefix(explorer.address.rstrip("/")))
        self._cookie = str(headers.get("set-cookie")).partition(";")[0]

    def _ask(self, path: str, body: bytes | None = None) -> tuple[bytes, Any]:
        self._connection.request("GET" if body is None else "POST", path, body, {"cookie": self._cookie})
        answer = self._connection.getresponse()
        content = answer.read()
        if answer.status >= 400:
            raise SystemExit(f"{path}: {content.decode()}")
        return content, answer.headers

    def file(self, path: str) -> bytes:
        """A file."""
        return self._ask(f"/{path}")[0]

    def get(self, path: str) -> Any:
        """Plain values."""
        return json.loads(self.file(path))

    def post(self, path: str, asked: Any) -> Any:
        """The answer to plain values."""
        return json.loads(self._ask(f"/{path}", json.dumps(asked).encode())[0])


def measure(real: Path, threads: int) -> list[tuple[str, float, str, float]]:
    """What was asked, how many milliseconds it took, its bound in words and in milliseconds.

    The questions are asked in turn, each time about another class or place, so that no answer is remembered and what
    else the machine does meets all of them alike.
    """
    torch.set_num_threads(threads)
    model = cnnviz.load_model("mobilenet_v2", device="cpu")
    picture = cnnviz.read_picture(real / "photos" / "cat.jpg")
    inputs = model.preprocess(picture)[0][None]
    with cnnviz.explore(model, [picture]) as explorer:
        visitor = Visitor(explorer)
        own = f"api/networks/0/pictures/{quote(picture.name)}"
        visitor.get(f"{own}/classes")
        numbers = count(1)

        def forward() -> None:
            with torch.no_grad():
                model.module(inputs)

        def click() -> None:
            found = visitor.get(f"{own}/map?method=gradcam&target={next(numbers)}")
            visitor.file(f"{found['image']}?side={SIDE}")

        def release() -> None:
            stroke = {"x": 60 + next(numbers) / 4, "y": 110, "radius": 30}
            visitor.post(f"{own}/hide", {"strokes": [stroke], "fill": "blur"})

        def look() -> None:
            found = visitor.get(f"{own}/layers/{LAYER}?target={next(numbers)}")
            for page in found["sprite"]["pages"]:
                visitor.file(page)

        def hover() -> None:
            visitor.get(f"{own}/layers/{LAYER}/place?x={next(numbers) % 200}&y=90")

        model.module.eval()
        runs = {"forward": forward, "click": click, "release": release, "look": look, "hover": hover}
        taken = {name: 1000 * seconds for name, seconds in interleaved(runs, TIMES).items()}
    one = taken["forward"]
    return [
        ("a forward", one, "", 0.0),
        ("class click to map", taken["click"], "4 forwards + 100 ms", 4 * one + 100),
        ("brush release to bars", taken["release"], "2 forwards + 60 ms", 2 * one + 60),
        ("1,280 units of a layer", taken["look"], "1 s, with drawing", 1000.0),
        ("hover to field and units", taken["hover"], "", 0.0),
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    threads = parser.parse_args().threads
    real = os.environ.get("CNNVIZ_REAL")
    if not real:
        raise SystemExit("Set CNNVIZ_REAL to the folder of real networks and photographs.")
    os.environ.setdefault("TORCH_HOME", str(Path(real) / "torch_home"))
    print(f"mobilenet_v2, {machine()}")
    for name, taken, bound, most in measure(Path(real), threads):
        said = f"{taken / most:.2f} of {bound} ({most:.0f} ms)" if bound else ""
        print(f"{name:28s}{taken:8.1f} ms   {said}")


if __name__ == "__main__":
    main()

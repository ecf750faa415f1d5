"""What strangers send and what goes wrong: uploads, names, paths, many at once, closed connections, interrupts."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image

import cnnviz
from cnnviz.explorer import saved
from cnnviz.explorer.exploration import maps_of
from cnnviz.explorer.explore import is_local
from cnnviz.explorer.pictures import MOST_BYTES, MOST_PICTURES, Shelf, free_key, plain_name
from cnnviz.explorer.server import STATIC
from tests.support.visitor import Visitor, picture

SCENE = picture("scene-0.png")


def png_of(pixels) -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


def bomb(side: int) -> bytes:
    """A PNG whose head says that it is very large."""
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + head + struct.pack(">I", zlib.crc32(b"IHDR" + head))
    data = zlib.compress(b"\0" * 100)
    rest = struct.pack(">I", len(data)) + b"IDAT" + data + struct.pack(">I", zlib.crc32(b"IDAT" + data))
    return b"\x89PNG\r\n\x1a\n" + chunk + rest + struct.pack(">I", 0) + b"IEND" + struct.pack(">I", zlib.crc32(b"IEND"))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"<script>alert(1)</script>", "is text"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 40, "PNG"),
        (png_of(np.zeros((64, 64, 3), np.uint8))[:60], "PNG"),
        (b"GIF89a" + b"\xff" * 30, "GIF"),
        (b"%PDF-1.7", "PDF"),
        (bomb(7100), "expected at most 50 million"),
        (bomb(60_000), "expected at most 50 million"),
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "is text"),
    ],
)
def test_a_broken_upload_is_refused_in_a_sentence_and_the_server_goes_on(visitor, content, words):
    status, sentence = visitor.refused("api/pictures?name=x.png", content)
    assert status == 400
    assert words in sentence
    assert "Traceback" not in sentence
    assert visitor.ask("/api/session")[0] == 200


def test_an_upload_that_is_too_large_is_refused_before_it_is_read(visitor, explorer):
    with socket.create_connection(("127.0.0.1", explorer.port)) as sent:
        head = f"POST /api/pictures?name=x HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: {visitor.cookie}\r\n"
        sent.sendall(f"{head}Content-Length: {10**12}\r\n\r\n".encode())
        assert b" 413 " in sent.recv(1000)
    with socket.create_connection(("127.0.0.1", explorer.port)) as sent:  # without saying how much is to come
        sent.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        block = b"100000\r\n" + b"x" * (1 << 20) + b"\r\n"
        with suppress(OSError):
            for _ in range((MOST_BYTES >> 20) + 2):
                sent.sendall(block)
        sent.settimeout(20)
        with suppress(ConnectionResetError):
            assert b" 413 " in sent.recv(1000)
    assert visitor.ask("/api/session")[0] == 200


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("cat.jpg", "cat.jpg"),
        ("../../etc/passwd", "passwd"),
        ("C:\\photos\\a b.png", "a b.png"),
        ("<script>alert(1)</script>.png", "script>.png"),
        ("javascript:alert(1).png", "javascript_alert(1).png"),
        ("data:3", "data_3"),
        ("a\nb\0c.png", "a b c.png"),
        ("..", "picture"),
        ("", "picture"),
        ("x" * 300 + ".png", "x" * 80 + ".png"),
        ("Kätzchen 猫.png", "Kätzchen 猫.png"),
    ],
)
def test_a_name_is_kept_as_text_and_never_as_a_path(name, key):
    assert plain_name(name) == key


def test_a_hostile_name_comes_back_as_json_text(visitor):
    told = visitor.ask(
        f"/api/pictures?name={quote('<img src=x onerror=alert(1)>.png')}", png_of(np.eye(70, dtype=np.uint8) * 255)
    )
    assert told[1]["content-type"] == "application/json"
    key = json.loads(told[2])["key"]
    assert key == "<img src=x onerror=alert(1)>.png"
    assert visitor.file(f"api/pictures/{quote(key, safe='')}.png")[:4] == b"\x89PNG"
    status, headers, _ = visitor.ask(f"/api/networks/0/pictures/{quote('<script>', safe='')}/classes")
    assert (status, headers["content-type"]) == (404, "application/json")


@pytest.mark.parametrize(
    "path",
    [
        "../../../etc/passwd", "..%2f..%2f..%2fetc%2fpasswd", "%2e%2e/%2e%2e/etc/passwd", "static/../guard.py",
        "guard.py", "/etc/passwd", "//etc/passwd", "api/pictures/..%2f..%2fREADME.md.png",
        "api/pictures/%2fetc%2fpasswd.png",
        "api/images/..%2f..%2fx.png", "api/arrays/..%2fx", "index.html%00.png", "api/pictures/data%3A..%2fx.png",
    ],
)  # fmt: skip
def test_no_path_reaches_the_file_system(visitor, path):
    status, _, content = visitor.ask(f"/{path}")
    assert status == 404
    assert b"root:" not in content
    assert b"import" not in content


def test_the_page_s_files_are_those_of_its_folder(visitor):
    files = [path for path in STATIC.rglob("*") if path.suffix in (".html", ".js", ".css")]
    assert {"index.html", "style.css", "data.js"} <= {path.name for path in files}
    for path in files:
        assert visitor.file(path.relative_to(STATIC).as_posix()) == path.read_bytes()


def test_targets_of_the_browser_open_no_files(visitor, tmp_path):
    """A target may name a file on the command line; what a browser says may not."""
    secret = tmp_path / "secret.npy"
    np.save(secret, np.ones(64, np.float32))
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "secret.png")
    for target, words in (
        (f"similar:{tmp_path / 'secret.png'}", "names a file"),
        (f"star in {tmp_path / 'secret.png'}", "names a file"),
        (f"layer3:{secret}", "There is no label"),
    ):
        assert words in visitor.refused(f"{SCENE}/map?target={quote(target, safe='')}")[1]
        assert words in visitor.refused(f"{SCENE}/layers/layer3?target={quote(target, safe='')}")[1]
        job = visitor.post("api/jobs", {"kind": "maximize", "target": target, "settings": {"steps": 1}})["job"]
        assert words in visitor.watch(job)[-1]["error"]


def test_no_setting_of_a_map_names_a_file():
    texts = {
        name for method in maps_of() for name, one in method.parameters.items() if one.kind is str and not one.choices
    }
    assert texts == {"layer", "baseline", "units"}


def test_pictures_dropped_are_held_up_to_a_number_and_the_same_one_once():
    shelf = Shelf([])
    first = shelf.drop(png_of(np.zeros((8, 8, 3), np.uint8)), "a.png")
    assert shelf.drop(png_of(np.zeros((8, 8, 3), np.uint8)), "a.png") == first == "a.png"
    assert shelf.drop(png_of(np.full((8, 8, 3), 9, np.uint8)), "a.png") == "a (2).png"
    for number in range(MOST_PICTURES):
        shelf.drop(png_of(np.full((8, 8, 3), number + 10, np.uint8)), f"{number}.png")
    assert len(shelf.keys) == MOST_PICTURES
    with pytest.raises(cnnviz.CnnvizError, match="no picture"):
        shelf.picture("a.png")
    assert free_key("x", ["x", "x (2)"]) == "x (3)"


def test_ten_at_once_wait_for_each_other_and_get_right_answers(network):
    scenes = [cnnviz.Picture(cnnviz.draw_scene(number, size=96).pixels, f"{number}.png") for number in range(10)]
    wanted = [cnnviz.gradcam(network, scene, number)[0] for number, scene in enumerate(scenes)]
    with cnnviz.explore(network, scenes) as running:
        visitors = [Visitor(running) for _ in range(10)]

        def look(number: int):
            visitor, own = visitors[number], picture(f"{number}.png")
            found = visitor.get(f"{own}/map", target=number)
            values = np.frombuffer(visitor.file(found["values"]), "<f4").reshape(found["shape"])
            layer = visitor.get(f"{own}/layers/layer3", target=number)
            return found["score"], values, np.asarray(Image.open(io.BytesIO(visitor.file(found["image"])))), layer

        with ThreadPoolExecutor(10) as pool:
            answers = list(pool.map(look, range(10)))
    for one, (score, values, drawn, layer) in zip(wanted, answers, strict=True):
        assert score == pytest.approx(one.score, rel=1e-5)
        assert np.allclose(values, one.upsampled(), atol=1e-5)
        assert np.array_equal(drawn, one.overlay())
        assert layer["target"] == str(one.target)


def test_a_connection_closed_in_mid_work_leaves_the_server_whole(visitor, explorer):
    asked = f"GET /{SCENE}/map?method=occlusion&settings=%7B%22window%22:9,%22stride%22:1%7D HTTP/1.1\r\n"
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", explorer.port)) as sent:
            sent.sendall(f"{asked}Host: localhost\r\nCookie: {visitor.cookie}\r\n\r\n".encode())
            time.sleep(0.1)
    assert visitor.get(f"{SCENE}/classes", top=3)["classes"]


def test_a_session_is_saved_and_opened_elsewhere(visitor, network):
    view = "#/picture/scene-1.png?target=star"
    status, headers, content = visitor.ask(f"/api/session/file?view={quote(view, safe='')}")
    assert (status, headers["content-disposition"]) == (200, 'attachment; filename="session.cnnviz.json"')
    with cnnviz.explore(network, []) as running:
        other = Visitor(running)
        told = json.loads(other.ask("/api/session/file", content)[2])
        assert (told["view"], told["notes"]) == (view, [])
        assert "scene-1.png" in [one["key"] for one in told["pictures"]]
        ours, theirs = (each.get(f"{picture('scene-1.png')}/classes") for each in (visitor, other))
        assert ours == theirs
    with cnnviz.explore("shapes-vgg", []) as running:
        told = json.loads(Visitor(running).ask("/api/session/file", content)[2])
        assert "other networks or weights: shapes-resnet" in told["notes"][0]
    assert visitor.refused("api/session/file", b"{}")[0] == 422
    broken = json.dumps(
        {**json.loads(content), "pictures": [{"name": 3}, {"file": "!"}], "view": "javascript:1"}
    ).encode()
    told = json.loads(visitor.ask("/api/session/file", broken)[2])
    assert (told["view"], len(told["notes"])) == ("#/", 2)


def test_it_listens_to_this_machine_alone_unless_told_otherwise(explorer, network):
    assert explorer._server._socket.getsockname()[0] == "127.0.0.1"
    with cnnviz.explore(network, [], host="0.0.0.0") as running:
        assert running._server._socket.getsockname()[0] == "0.0.0.0"
        visitor = Visitor(running)
        assert visitor.ask("/api/session", host="192.168.7.9")[0] == 200
        assert visitor.refused("api/session", host="evil.example")[0] == 403
    with pytest.raises(cnnviz.CnnvizError, match="cannot be used"):
        cnnviz.explore(network, [], port=explorer.port)
    with pytest.raises(cnnviz.CnnvizError, match="no host"):
        cnnviz.explore(network, [], host="no such host")


@pytest.mark.parametrize(
    ("host", "local"),
    [("127.0.0.1", True), ("127.0.0.9", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False),
     ("192.168.0.7", False), ("localhost.evil.example", False)],
)  # fmt: skip
def test_where_only_this_machine_reaches_it(host, local):
    assert is_local(host) is local


def test_a_session_that_could_not_be_opened_again_is_not_saved(visitor, monkeypatch):
    monkeypatch.setattr(saved, "MOST_FILE", 1 << 20)
    status, sentence = visitor.refused("api/session/file")
    assert (status, "at most 1 MB" in sentence) == (422, True)


def test_an_interrupt_in_mid_work_stops_it_with_the_network_as_it_was(tmp_path):
    """In a process of its own: Ctrl-C while a picture is being made."""
    script = tmp_path / "run.py"
    script.write_text(
        "import cnnviz, json, torch\n"
        "model = cnnviz.load_model('shapes-resnet', device='cpu')\n"
        "before = {name: each.clone() for name, each in model.module.state_dict().items()}\n"
        "explorer = cnnviz.explore(model)\n"
        "print(explorer.url, flush=True)\n"
        "try:\n"
        "    explorer.wait()\n"
        "except KeyboardInterrupt:\n"
        "    explorer.stop()\n"
        "same = all(torch.equal(before[name], each) for name, each in model.module.state_dict().items())\n"
        "hooks = sum(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in model.module.modules())\n"
        "own = any('forward' in vars(part) for part in model.module.modules())\n"
        "print(json.dumps([same, hooks, own, explorer.running]), flush=True)\n"
    )
    done = subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ}
    )
    try:
        url = done.stdout.readline().strip()

        class Running:
            port = int(url.split(":")[2].partition("/")[0])

        Running.url = url
        visitor = Visitor(Running)
        asked = {"kind": "maximize", "target": "star", "settings": {"steps": 100_000}}
        visitor.watch(visitor.post("api/jobs", asked)["job"], until=lambda news: news["progress"] >= 1)
        asked = {"kind": "map", "picture": "scene-0.png", "method": "rise", "settings": {"masks": 1_000_000}}
        visitor.post("api/jobs", asked)
        done.send_signal(signal.SIGINT)
        out, err = done.communicate(timeout=60)
    finally:
        done.kill()
    assert json.loads(out) == [True, 0, False, False]
    assert err == ""

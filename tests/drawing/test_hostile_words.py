"""Names and labels that no terminal and no parser may be fed: what is written and printed of them is harmless."""

from __future__ import annotations

import json
import os
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pypdf
import pytest
from click.testing import CliRunner
from cnnviz.cli.app import main as command
from PIL import Image

import cnnviz
from cnnviz.errors import quoted, visible

SCREEN, BIDI = "\x1b[2J\x1b]0;owned\x07", "\u202e\u2066"
HOSTILE = {
    "escape": f"a{SCREEN}b",
    "control": "a\x9b31m\x7f\x00b",
    "turned": f"a{BIDI}b",
    "surrogate": "a\udce9b",
    "noncharacter": "a\ufffe\uffffb",
    "lines": "a\nError: forged\r\x0b\x85\u2028b",
}
MIXED = {
    "terminal": "".join(HOSTILE[name] for name in ("escape", "control", "turned", "lines")),
    "encoding": "".join(HOSTILE[name] for name in ("surrogate", "noncharacter")),
}
KEPT = "ünï 日本\u3000語 🙂"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def network(word):
    labels = [f"{word} {number}" for number in range(10)]
    return cnnviz.load_model("shapes-resnet", labels=labels, device="cpu")


def run(*arguments):
    return CliRunner().invoke(command, [str(each) for each in arguments], prog_name="cnnviz")


def harmless(text):
    assert all(letter == "\n" or letter.isprintable() or letter == "\u3000" for letter in text), ascii(text)


@pytest.mark.parametrize("word", HOSTILE.values(), ids=HOSTILE)
def test_what_is_shown(word):
    harmless(visible(word))
    assert "\n" not in quoted(word)
    assert visible(word, keep="\n").count("\n") == word.count("\n")
    assert visible(KEPT) == KEPT
    assert visible(visible(word)) == visible(word)


def test_spelt_out():
    assert visible("\x1b\x9b\x7f\u202e\udce9\ufffe\n") == r"\x1b\x9b\x7f\u202e\udce9\ufffe\n"


@pytest.mark.parametrize("word", MIXED.values(), ids=MIXED)
def test_files_that_parsers_accept(word, folder):
    model, scene = network(word), cnnviz.draw_scene(0, size=64)
    maps = cnnviz.gradcam(model, scene.pixels)
    target = str(maps[0].target)
    assert word in target
    for suffix in (".png", ".jpg", ".webp", ".svg", ".pdf", ".npz"):
        file = maps.save(f"map{suffix}")
        record = cnnviz.Provenance.from_json(cnnviz.read_note(file))
        assert record.targets == (target,), suffix
        assert cnnviz.rerun(file, images=scene.pixels).identical
    ElementTree.parse("map.svg")
    assert pypdf.PdfReader("map.pdf").pages[0].extract_text()
    assert str(np.load("map.npz")["targets"][0]) == target
    frames = [Image.fromarray(np.full((32, 40, 3), 60 * number, np.uint8)) for number in range(2)]
    frames[0].save("clip.gif", save_all=True, append_images=frames[1:], duration=100)
    film = cnnviz.video(model, "clip.gif", "gradcam", 0, "film.mp4").path
    assert cnnviz.Provenance.from_json(cnnviz.read_note(film)).targets == (f"{word} 0",)


@pytest.mark.parametrize("word", MIXED.values(), ids=MIXED)
def test_a_page(word, folder):
    found = cnnviz.report(
        network(word), cnnviz.draw_scene(0, size=64).pixels, sections="overview,predictions,maps", methods="gradcam"
    )
    text = found.save("page.html").read_text("utf-8")
    assert cnnviz.read_note("page.html")
    before, _, rest = text.partition('<script type="application/json"')
    harmless(before + rest.partition("</script>")[2])
    HTMLParser().feed(text)
    assert "Error: forged" not in {line.strip() for line in text.splitlines()}


@pytest.mark.parametrize("word", MIXED.values(), ids=MIXED)
def test_the_command_line(word, folder):
    (folder / "labels.json").write_text(json.dumps([f"{word} {number}" for number in range(10)]))
    name = f"cat{word.replace(chr(0), '')}.png"
    Image.fromarray(cnnviz.draw_scene(0, size=64).pixels).save(os.fsencode(name))
    network = ("--model", "shapes-resnet", "--labels", "labels.json", "--device", "cpu")
    answers = [
        run("predict", *network, name),
        run("predict", *network, name, "--json"),
        run("gradcam", *network, name, "-o", "map.png"),
        run("gradcam", *network, name),
        run("info", "map.png"),
        run("info", "map.png", "--json"),
        run("rerun", "map.png", "--labels", "labels.json"),
    ]
    for found in answers:
        assert found.exit_code == 0, (found.stderr, found.exception)
        harmless(found.stdout + found.stderr)
    assert len(answers[0].stdout.splitlines()) == 6
    assert json.loads(answers[1].stdout)[0]["predictions"][0]["label"].startswith(word)
    assert json.loads(answers[5].stdout)["targets"][0].startswith(word)
    word = word.replace("\0", "")  # which no command line can hold
    bad = [
        run("gradcam", "--model", f"no{word}", name),
        run("gradcam", *network, "--target", f"no{word}", name),
        run("gradcam", *network, "--layer", f"no{word}", name),
        run("gradcam", *network, f"no{word}.png"),
        run("gradcam", *network, f"--no{word}", name),
        run("info", f"no{word}.png"),
        run("rerun", f"no{word}.png"),
        run(f"--no{word}"),
        run(f"no{word}"),
        run("gradcam", *network, name, "-o", f"no{word}/a.pgn"),
    ]
    for found in bad:
        assert found.exit_code in (1, 2), (found.args, found.stderr)
        harmless(found.stdout + found.stderr)
        assert "internal error" not in found.stderr
        assert "\nError: forged" not in found.stderr

"""A corpus of broken and odd files, made here: every command answers or says in one sentence why not."""

from __future__ import annotations

import io
import json
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

ENDINGS = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP", "gif": "GIF", "tif": "TIFF", "bmp": "BMP"}
TENTHS = range(10)
TINY = ("--model", "nets.py:tiny", "--labels", "labels.txt", "--input-size", 32)


def pixels(height=40, width=48):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def encoded(kind, image=None, **settings) -> bytes:
    held = io.BytesIO()
    (image or Image.fromarray(pixels())).save(held, kind, **settings)
    return held.getvalue()


def png(width, height) -> bytes:
    """A PNG whose header promises a size that its data does not hold."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(b"\0" * 64)), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


def exif(orientation) -> Image.Exif:
    held = Image.Exif()
    held[0x0112] = orientation
    return held


GOOD = {
    "one.png": encoded("PNG", Image.fromarray(pixels(1, 1))),
    "narrow.png": encoded("PNG", Image.fromarray(pixels(400, 12))),
    "sixteen.png": encoded("PNG", Image.fromarray((np.arange(1600).reshape(40, 40) * 40).astype(np.uint16))),
    "cmyk.jpg": encoded("JPEG", Image.fromarray(pixels()).convert("CMYK")),
    "grey.jpg": encoded("JPEG", Image.fromarray(pixels()).convert("L")),
    "palette.png": encoded("PNG", Image.fromarray(pixels()).convert("P")),
    "bits.png": encoded("PNG", Image.fromarray(pixels()).convert("1")),
    "seethrough.png": encoded("PNG", Image.fromarray(pixels()).convert("RGBA")),
    "moving.gif": encoded("GIF", save_all=True, append_images=[Image.fromarray(255 - pixels())]),
    "jpeg-named.png": encoded("JPEG"),
    "with space, ünïcode.jpg": encoded("JPEG"),
    **{f"turned{turn}.jpg": encoded("JPEG", exif=exif(turn)) for turn in range(1, 9)},
}
BAD = {
    **{f"cut{tenth}.{ending}": encoded(kind)[: len(encoded(kind)) * tenth // 10]
       for ending, kind in ENDINGS.items() for tenth in TENTHS},
    "zeros.jpg": bytes(2000),
    "huge.png": png(200_000, 200_000),
    "empty.png": png(0, 10),
    "text.jpg": b"no picture at all",
    "page.png": b"<html><body>404</body></html>",
}  # fmt: skip


@pytest.fixture
def corpus(folder):
    (folder / "corpus").mkdir()
    for name, content in (GOOD | BAD).items():
        (folder / "corpus" / name).write_bytes(content)
    return folder / "corpus"


def sentences(result) -> list[str]:
    assert "Traceback" not in result.output + result.stderr
    assert "internal error" not in result.stderr
    return [line for line in result.stderr.splitlines() if line.startswith("Error")]


@pytest.mark.parametrize("asked", ["predict", "gradcam"])
def test_the_good_are_done_and_the_bad_are_listed(cnnviz, corpus, asked):
    out = () if asked == "predict" else ("-o", "maps/")
    result = cnnviz(asked, *TINY, *sorted(corpus.iterdir()), "--json", *out)
    sentences(result)
    assert result.exit_code == 1
    done = {entry["image"].rpartition("/")[2] for entry in json.loads(result.stdout)}
    assert set(GOOD) <= done
    failed = [name for name in BAD if name not in done]
    assert {"zeros.jpg", "huge.png", "empty.png", "text.jpg", "page.png", *(f"cut0.{each}" for each in ENDINGS)} <= {
        *failed
    }
    for name in failed:
        assert name in result.stderr
    for name in done & set(BAD):
        assert name.startswith("cut"), "only a cut file may still hold a whole picture"


@pytest.mark.parametrize("name", ["zeros.jpg", "huge.png", "cut5.png", "page.png", "cut0.gif"])
@pytest.mark.parametrize(
    "asked",
    [
        ("predict",),
        ("saliency",),
        ("compare", "--methods", "gradcam,saliency"),
        ("features", "--layer", "0"),
        ("layers", "--rank"),
        ("dff",),
    ],
    ids=lambda asked: asked[0],
)
def test_alone_a_broken_file_is_a_sentence_and_exit_code_1(cnnviz, corpus, asked, name):
    result = cnnviz(*asked, corpus / name, *TINY)
    assert sentences(result)
    assert result.exit_code == 1, result.stderr


def test_a_picture_of_one_by_four_thousand(cnnviz, folder):
    Image.fromarray(pixels(1, 4000)).save(folder / "thread.png")
    result = cnnviz("predict", *TINY, "thread.png")
    assert result.exit_code in (0, 1)
    assert bool(sentences(result)) == bool(result.exit_code)


@pytest.mark.parametrize("broken", ["weights", "checkpoint", "labels"])
def test_weights_that_are_not_numbers_and_files_that_are_no_weights(cnnviz, photo, folder, broken):
    import torch

    net = torch.nn.Linear(2, 2)
    torch.save({"0.weight": torch.full((8, 3, 3, 3), float("nan")), "0.bias": torch.zeros(8)}, folder / "nan.pth")
    (folder / "noise.pth").write_bytes(bytes(range(256)) * 8)
    torch.save(net, folder / "whole.pth")
    settings = {
        "weights": ("--weights", "nan.pth"),
        "checkpoint": ("--weights", "noise.pth"),
        "labels": ("--weights", "whole.pth"),
    }[broken]
    result = cnnviz("gradcam", *TINY, *settings, photo())
    assert sentences(result)
    assert result.exit_code == 1


LOST = """
def lost():
    net = tiny()
    net[0].weight.data.fill_(float("nan"))
    return net
"""


@pytest.mark.parametrize("asked", ["predict", "gradcam", "saliency", "occlusion"])
def test_a_network_whose_weights_are_nan_says_so(cnnviz, photo, folder, asked):
    (folder / "nets.py").write_text((folder / "nets.py").read_text() + LOST)
    result = cnnviz(asked, "--model", "nets.py:lost", "--input-size", 32, photo())
    assert "not finite" in result.stderr, result.stderr
    sentences(result)

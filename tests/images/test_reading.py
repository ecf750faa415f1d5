"""Reading pictures: every format, every orientation, every way a file can be bad."""

import io
import os
import subprocess
import sys
from zlib import crc32

import numpy as np
import pytest
from PIL import Image, ImageOps, PngImagePlugin, UnidentifiedImageError

from cnnviz.core.picture import Picture
from cnnviz.errors import ParameterError, PassingPictureError, PictureError, UsageError
from cnnviz.images import reading
from cnnviz.images.reading import as_picture, read_picture
from cnnviz.images.video import open_clip
from cnnviz.rerunning.difference import DAMAGED, largest_difference

RNG = np.random.default_rng(0)
PHOTO = np.kron(RNG.integers(0, 256, (4, 6, 3), dtype=np.uint8), np.ones((8, 8, 1), np.uint8))
RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
CORNERS = np.array([[RED, GREEN], [BLUE, WHITE]], np.uint8)
TURNED_BY = {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6}  # the orientation that undoes each


def sentence(call, *args, mentions, kind=PictureError, **kwargs):
    with pytest.raises(kind) as caught:
        call(*args, **kwargs)
    text = str(caught.value)
    assert "\n" not in text
    assert text.endswith((".", "?"))
    for mention in [mentions] if isinstance(mentions, str) else mentions:
        assert mention in text
    return text


def saved(path, array, mode=None, **options):
    image = Image.fromarray(array) if mode is None else Image.fromarray(array).convert(mode)
    image.save(path, **options)
    return path


@pytest.mark.parametrize("ending", ["png", "bmp", "tif", "webp"])
def test_lossless_formats_give_the_pixels_that_were_saved(tmp_path, ending):
    picture = read_picture(
        saved(tmp_path / f"photo.{ending}", PHOTO, **({"lossless": True} if ending == "webp" else {}))
    )
    np.testing.assert_array_equal(picture.pixels, PHOTO)
    assert picture.pixels.dtype == np.uint8
    assert (picture.name, picture.notes, picture.geometry) == (f"photo.{ending}", (), None)


def test_jpeg_is_what_pillow_decodes(tmp_path):
    path = saved(tmp_path / "photo.jpg", PHOTO, quality=95)
    np.testing.assert_array_equal(read_picture(str(path)).pixels, np.array(Image.open(path).convert("RGB")))


def test_the_content_decides_and_not_the_ending(tmp_path):
    path = saved(tmp_path / "photo.jpg", PHOTO, format="PNG")
    np.testing.assert_array_equal(read_picture(path).pixels, PHOTO)


@pytest.mark.parametrize("ending", ["gif", "webp", "png", "tif"])
def test_the_first_frame_is_taken_and_noted(tmp_path, ending):
    frames = [Image.new("RGB", (8, 8), colour) for colour in (RED, GREEN, BLUE)]
    path = tmp_path / f"film.{ending}"
    frames[0].save(path, save_all=True, append_images=frames[1:], **({"lossless": True} if ending == "webp" else {}))
    picture = read_picture(path)
    assert tuple(picture.pixels[4, 4]) == RED
    assert picture.notes == ("first of 3 frames",)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tif"])
def test_every_orientation_lands_upright(tmp_path, orientation, ending):
    upright = Image.fromarray(np.kron(CORNERS, np.ones((16, 24, 1), np.uint8)))
    exif = Image.Exif()
    exif[0x0112] = TURNED_BY[orientation]
    stored = upright.copy()
    stored.info["exif"] = exif.tobytes()
    stored = ImageOps.exif_transpose(stored)
    exif[0x0112] = orientation
    stored.save(tmp_path / f"a.{ending}", exif=exif)
    for picture in (read_picture(tmp_path / f"a.{ending}"), as_picture(Image.open(tmp_path / f"a.{ending}"))):
        assert picture.size == (32, 48)
        found = picture.pixels[[8, 8, 24, 24], [12, 36, 12, 36]].astype(int)
        assert np.abs(found - CORNERS.reshape(4, 3)).max() < 20


def test_the_digest_does_not_depend_on_the_format(tmp_path):
    digests = {read_picture(saved(tmp_path / f"a.{ending}", PHOTO)).digest for ending in ("png", "bmp", "tif")}
    assert len(digests) == 1


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "bmp", "tif", "gif"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_truncated_files(tmp_path, capfd, ending, share):
    noise = RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = saved(tmp_path / f"cut.{ending}", noise)
    whole = path.read_bytes()
    path.write_bytes(whole[: max(int(len(whole) * share), 12)])
    sentence(read_picture, path, mentions=[str(path), "expected a JPEG, PNG, WebP, BMP, TIFF or GIF file"])
    assert capfd.readouterr() == ("", "")


def test_damaged_bytes_never_escape_as_another_error(tmp_path):
    messages = []
    for ending in ("jpg", "png", "webp", "bmp", "tif", "gif"):
        path = saved(tmp_path / f"a.{ending}", PHOTO)
        whole = np.frombuffer(path.read_bytes(), np.uint8)
        for _ in range(40):
            damaged = whole.copy()
            damaged[RNG.integers(0, len(whole), 6)] = RNG.integers(0, 256, 6)
            path.write_bytes(damaged.tobytes())
            try:
                read_picture(path)
            except PictureError as error:
                messages.append(str(error))
    assert len(messages) > 40
    assert not any("\n" in message for message in messages)
    assert all(str(tmp_path) in message for message in messages)


@pytest.mark.parametrize(
    ("content", "mention"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html>\n<html>not found</html>", "is text"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC"),
        (b"%PDF-1.7\n", "PDF"),
        (b"PK\x03\x04\x00", "ZIP"),
        (b"\x00\x01\x02\x03" * 9, "not a picture"),
        (b"\xff\xd8\xff\xe0", "a damaged JPEG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is text"),
    ],
)
def test_files_that_are_no_pictures(tmp_path, content, mention):
    path = tmp_path / "photo.jpg"
    path.write_bytes(content)
    sentence(read_picture, path, mentions=[str(path), mention, "expected a JPEG"])


def test_a_package_that_replaced_pillows_open_changes_no_message(tmp_path, monkeypatch):
    """As ultralytics does: a file that Pillow cannot identify is answered by asking for another package."""
    opens = Image.open

    def replaced(*given, **settings):
        try:
            return opens(*given, **settings)
        except UnidentifiedImageError:
            raise ModuleNotFoundError("No module named 'pi_heif'")  # noqa: B904 - as it is raised there

    monkeypatch.setattr(Image, "open", replaced)
    (tmp_path / "photo.jpg").write_bytes(b"<!DOCTYPE html>")
    assert "pi_heif" not in sentence(read_picture, tmp_path / "photo.jpg", mentions=["is text", "expected a JPEG"])
    saved(tmp_path / "whole.png", PHOTO)
    whole = (tmp_path / "whole.png").read_bytes()
    assert largest_difference(b"", whole, ".png") == DAMAGED


def test_missing_files_and_folders(tmp_path):
    saved(tmp_path / "photo.png", PHOTO)
    assert "did you mean 'photo.png'?" in sentence(read_picture, tmp_path / "phtoo.png", mentions="phtoo.png")
    sentence(read_picture, tmp_path / "zebra", mentions=["zebra", "no file"])
    sentence(read_picture, tmp_path / "nowhere" / "photo.png", mentions=["nowhere", "nor its folder"])
    sentence(read_picture, tmp_path, mentions=[str(tmp_path), "is a folder"])
    sentence(read_picture, tmp_path / "photo.png" / "deeper.png", mentions=["deeper.png", "cannot be opened"])
    sentence(read_picture, tmp_path / ("long" * 200), mentions="cannot be opened")
    sentence(read_picture, "nul\0name.png", mentions="nul\\x00name.png")
    sentence(read_picture, tmp_path / "two\nlines.png", mentions="two\\nlines.png")


def test_the_file_is_named_as_it_was_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "'./gone.png'" in sentence(read_picture, "./gone.png", mentions="gone.png")


def test_permission_denied(tmp_path, monkeypatch):
    path = saved(tmp_path / "secret.png", PHOTO)

    def denied(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.open", denied)
    sentence(read_picture, path, mentions=["secret.png", "permission denied"])


def test_too_many_pixels(tmp_path, monkeypatch):
    path = saved(tmp_path / "huge.png", PHOTO)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert read_picture(path).size == (32, 48)  # a warning of Pillow is not printed
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    sentence(read_picture, path, mentions=["huge.png", "too many pixels", "178 million"])
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    monkeypatch.setattr(reading, "MAX_PIXELS", 100)
    sentence(read_picture, path, mentions=["huge.png", "too many pixels"])


def test_a_bomb_of_small_bytes_is_refused_before_it_is_decoded(tmp_path):
    buffer = io.BytesIO()
    Image.new("1", (1, 1)).save(buffer, "PNG")
    header = b"IHDR" + (20000).to_bytes(4) * 2 + buffer.getvalue()[24:29]
    (tmp_path / "bomb.png").write_bytes(
        buffer.getvalue()[:12] + header + crc32(header).to_bytes(4) + buffer.getvalue()[33:]
    )
    sentence(read_picture, tmp_path / "bomb.png", mentions=["bomb.png", "too many pixels"])


def test_pillows_text_chunk_limit_is_one_sentence(tmp_path):
    info = PngImagePlugin.PngInfo()
    info.add_text("comment", "x" * (PngImagePlugin.MAX_TEXT_CHUNK + 1), zip=True)
    sentence(read_picture, saved(tmp_path / "chat.png", PHOTO, pnginfo=info), mentions=["chat.png", "damaged"])


@pytest.mark.parametrize("background", [(0, 0), (0, 0, 256), (0, 0, -1), (0.5, 0, 0)])
def test_background_must_be_a_colour(background):
    sentence(as_picture, PHOTO, background=background, mentions="background", kind=ParameterError)


def test_as_picture_takes_paths_pictures_and_pil_images(tmp_path):
    path = saved(tmp_path / "photo.png", PHOTO)
    picture = read_picture(path)
    assert as_picture(picture) is picture
    assert as_picture(path).digest == as_picture(str(path)).digest == picture.digest
    opened = as_picture(Image.open(path), "unused")
    assert (opened.name, opened.digest) == ("photo.png", picture.digest)
    assert as_picture(Image.fromarray(PHOTO)).name == "image"
    assert isinstance(as_picture(PHOTO), Picture)


def test_a_pil_image_is_not_changed_and_keeps_its_frame(tmp_path):
    frames = [Image.new("RGB", (8, 8), colour) for colour in (RED, GREEN, BLUE)]
    frames[0].save(tmp_path / "film.tif", save_all=True, append_images=frames[1:])
    with Image.open(tmp_path / "film.tif") as film:
        film.seek(1)
        picture = as_picture(film)
        assert film.tell() == 1
        assert film.mode == "RGB"
    assert tuple(picture.pixels[0, 0]) == GREEN
    assert picture.notes == ("frame 2 of 3",)


def test_pil_images_that_cannot_be_loaded(tmp_path):
    path = saved(tmp_path / "cut.png", RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    path.write_bytes(path.read_bytes()[:2000])
    with Image.open(path) as image:
        sentence(as_picture, image, mentions=["cut.png", "cannot be loaded"])
    with Image.open(path) as image:
        image.close()
        sentence(as_picture, image, mentions=["cut.png", "cannot be loaded"])
    sentence(as_picture, Image.new("RGB", (0, 4)), mentions="no pixels")


@pytest.mark.parametrize("thing", [None, 3, b"bytes", object()])
def test_other_things_are_a_usage_error(thing):
    sentence(as_picture, thing, mentions=["image is of type", "expected a path"], kind=UsageError)


def test_reading_needs_no_torch():
    code = "import sys, cnnviz.images.inputs, cnnviz.images.reading; assert 'torch' not in sys.modules"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


@pytest.mark.parametrize(
    ("name", "array", "bytes_each"),
    [
        ("rgb.png", np.zeros((300, 400, 3), np.uint8), 30),
        ("rgba.png", np.zeros((300, 400, 4), np.uint8), 30),
        ("grey16.png", np.zeros((300, 400), np.uint16), 42),
        ("float.tif", np.zeros((300, 400), np.float32), 42),
        ("photo.jpg", np.zeros((300, 400, 3), np.uint8), 30),
        ("one.gif", np.zeros((300, 400), np.uint8), 30),
        ("one.webp", np.zeros((300, 400, 3), np.uint8), 30),
    ],
)
def test_pixels_are_bounded_by_the_memory_that_is_free(name, array, bytes_each, tmp_path, monkeypatch):
    path = saved(tmp_path / name, array)
    monkeypatch.setattr(reading, "_ALWAYS_FREE", 0)
    monkeypatch.setattr(reading, "free_memory", lambda: 300 * 400 * bytes_each - 1)
    said = sentence(read_picture, path, mentions=[name, "400x300 pixels", "are free"], kind=PassingPictureError)
    assert "damaged" not in said
    monkeypatch.setattr(reading, "free_memory", lambda: 300 * 400 * bytes_each)
    assert read_picture(path).size == (300, 400)


def test_every_frame_is_bounded_too(tmp_path, monkeypatch):
    frames = [Image.new("RGB", (400, 300), (80 * number, 0, 0)) for number in range(3)]
    frames[0].save(tmp_path / "many.gif", save_all=True, append_images=frames[1:], duration=40)
    clip = open_clip(tmp_path / "many.gif")
    monkeypatch.setattr(reading, "_ALWAYS_FREE", 0)
    monkeypatch.setattr(reading, "free_memory", lambda: 1000)
    sentence(lambda: list(clip), mentions=["many.gif", "400x300 pixels"], kind=PassingPictureError)
    sentence(open_clip, tmp_path / "many.gif", mentions=["many.gif", "400x300 pixels"], kind=PassingPictureError)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("channels", [3, 4])
def test_reading_takes_no_more_memory_than_is_reckoned(channels, tmp_path):
    side = 3000
    levels = np.zeros((side, side, channels), np.uint8)
    levels[::7] = 200
    path = saved(tmp_path / "large.png", levels, compress_level=1)
    code = (
        "import sys, resource\nimport numpy as np\nfrom cnnviz.images import reading\n"
        "reading.as_picture(np.zeros((8, 8, 4), np.uint8))\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024\n"
        "before = peak()\nreading.read_picture(sys.argv[1])\nprint(peak() - before)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert int(done.stdout) < side * side * 30


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (OSError(5, "Input/output error"), PassingPictureError, "cannot be read (Input/output error)"),
        (MemoryError(), PassingPictureError, "not enough memory"),
        (OSError("image file is truncated"), PictureError, "truncated or damaged"),
    ],
)
def test_what_keeps_a_sound_picture_from_being_read_is_not_damage(error, kind, said, tmp_path, monkeypatch):
    path = saved(tmp_path / "a.png", PHOTO)

    def fail(*_args, **_settings):
        raise error

    monkeypatch.setattr(reading, "pixels_of_image", fail)
    with pytest.raises(PictureError, match=said.replace("(", r"\(").replace(")", r"\)")) as raised:
        read_picture(path)
    assert type(raised.value) is kind

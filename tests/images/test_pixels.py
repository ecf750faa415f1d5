"""Every colour mode, depth and array as 8-bit sRGB."""

import numpy as np
import pytest
from PIL import Image, ImageCms

from cnnviz.errors import ParameterError, PictureError
from cnnviz.images.reading import as_picture, read_picture

RNG = np.random.default_rng(0)
PHOTO = np.kron(RNG.integers(0, 256, (4, 6, 3), dtype=np.uint8), np.ones((8, 8, 1), np.uint8))
RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
CORNERS = np.array([[RED, GREEN], [BLUE, WHITE]], np.uint8)


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


def test_damaged_exif_is_ignored_and_noted():
    class Damaged(Image.Image):
        def getexif(self):
            raise SyntaxError("not a TIFF file")

    image = Damaged()
    image.__dict__.update(Image.fromarray(PHOTO).__dict__)
    picture = as_picture(image)
    np.testing.assert_array_equal(picture.pixels, PHOTO)
    assert picture.notes == ("unreadable EXIF data ignored",)


def test_transparency_is_drawn_over_the_background(tmp_path):
    drawn = np.zeros((2, 3, 4), np.uint8)
    drawn[:, :, 0], drawn[:, :, 3] = 200, [0, 128, 255]
    path = saved(tmp_path / "drawn.png", drawn)
    picture = read_picture(path)
    np.testing.assert_array_equal(picture.pixels[0], [[255, 255, 255], [227, 127, 127], [200, 0, 0]])
    assert picture.notes == ("transparent pixels drawn over white",)
    assert tuple(read_picture(path, background=(1, 2, 3)).pixels[0, 0]) == (1, 2, 3)
    assert read_picture(path, background=(0, 0, 0)).notes == ("transparent pixels drawn over black",)
    np.testing.assert_array_equal(as_picture(drawn).pixels, picture.pixels)


def test_opaque_alpha_is_no_decision(tmp_path):
    picture = read_picture(saved(tmp_path / "a.png", PHOTO, "RGBA"))
    np.testing.assert_array_equal(picture.pixels, PHOTO)
    assert picture.notes == ()


@pytest.mark.parametrize("ending", ["png", "gif"])
def test_palette_with_and_without_transparency(tmp_path, ending):
    image = Image.new("P", (4, 4), 1)
    image.putpalette([*RED, *GREEN, *BLUE])
    image.putpixel((0, 0), 0)
    image.save(tmp_path / f"plain.{ending}")
    image.save(tmp_path / f"clear.{ending}", transparency=0)
    assert tuple(read_picture(tmp_path / f"plain.{ending}").pixels[0, 0]) == RED
    clear = read_picture(tmp_path / f"clear.{ending}")
    assert tuple(clear.pixels[0, 0]) == WHITE
    assert tuple(clear.pixels[3, 3]) == GREEN
    assert clear.notes == ("transparent pixels drawn over white",)


def test_palette_with_an_alpha_for_each_entry(tmp_path):
    image = Image.new("P", (2, 1), 1)
    image.putpalette([*RED, *GREEN])
    image.putpixel((0, 0), 0)
    image.save(tmp_path / "a.png", transparency=bytes([0, 255]))
    np.testing.assert_array_equal(read_picture(tmp_path / "a.png").pixels, [[WHITE, GREEN]])


def test_transparent_colour_key(tmp_path):
    Image.fromarray(CORNERS).save(tmp_path / "key.png", transparency=BLUE)
    assert tuple(read_picture(tmp_path / "key.png").pixels[1, 0]) == WHITE


@pytest.mark.parametrize(("mode", "ending"), [("L", "png"), ("L", "jpg"), ("1", "png"), ("1", "tif"), ("LA", "png")])
def test_grey_modes(tmp_path, mode, ending):
    picture = read_picture(saved(tmp_path / f"a.{ending}", PHOTO, mode))
    assert picture.pixels.shape == PHOTO.shape
    assert (picture.pixels[:, :, 0] == picture.pixels[:, :, 2]).all()
    assert picture.notes == ()
    if mode == "1":
        assert set(np.unique(picture.pixels)) == {0, 255}


def test_half_transparent_grey(tmp_path):
    Image.merge("LA", [Image.new("L", (2, 2), 0), Image.new("L", (2, 2), 51)]).save(tmp_path / "a.png")
    assert (read_picture(tmp_path / "a.png").pixels == 204).all()


@pytest.mark.parametrize("ending", ["jpg", "tif"])
def test_cmyk(tmp_path, ending):
    path = saved(tmp_path / f"a.{ending}", np.full((16, 16, 3), (200, 30, 30), np.uint8), "CMYK")
    picture = read_picture(path)
    assert np.abs(picture.pixels.astype(int) - (200, 30, 30)).max() < 6
    assert picture.notes == ("CMYK without a colour profile converted to RGB",)


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_16_bit_is_scaled_and_not_clipped(tmp_path, ending):
    ramp = np.arange(0, 65536, 64, dtype=np.uint16).reshape(16, 64)
    picture = read_picture(saved(tmp_path / f"deep.{ending}", ramp))
    levels = picture.pixels[:, :, 0].ravel().astype(int)
    np.testing.assert_array_equal(levels, np.rint(ramp.ravel() / 257))
    assert (np.diff(levels) >= 0).all()
    assert len(np.unique(levels)) == 256
    np.testing.assert_allclose(picture.exact.ravel(), ramp.ravel() / 65535, rtol=1e-6)
    assert picture.notes == ("more than 8 bits: drawn with 8, given to the network whole",)


@pytest.mark.parametrize("mode", ["I;16", "I;16B", "I"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_deep_modes(tmp_path, mode, orientation):
    values = np.array([[0, 257, 32896, 65535]], {"I;16": "<u2", "I;16B": ">u2", "I": "<i4"}[mode])
    image = Image.frombytes(mode, (4, 1), values.tobytes())
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(tmp_path / "deep.tif", exif=exif)
    picture = read_picture(tmp_path / "deep.tif")
    assert picture.size == ((1, 4) if orientation == 1 else (4, 1))
    assert picture.pixels[..., 0].ravel().tolist() == [0, 1, 128, 255]
    np.testing.assert_array_equal(as_picture(image).pixels[0, :, 0], [0, 1, 128, 255])


def test_32_bit_outside_16_bit_is_refused():
    deep = Image.fromarray(np.array([[0, 70000]], np.int32))
    sentence(as_picture, deep, "deep", mentions=["'deep'", "0 to 70000", "0 to 65535"])


def test_float_tiff(tmp_path):
    unit = read_picture(saved(tmp_path / "unit.tif", np.array([[0, 0.2, 1]], np.float32)))
    assert unit.pixels[0, :, 1].tolist() == [0, 51, 255]
    assert unit.notes == ("float values from 0 to 1",)
    byte = read_picture(saved(tmp_path / "byte.tif", np.array([[0, 51.2, 255]], np.float32)))
    assert byte.pixels[0, :, 1].tolist() == [0, 51, 255]
    assert byte.notes == ("float values taken as 0 to 255",)
    for value, mention in ((-1, "-1"), (300, "300"), (np.nan, "NaN")):
        path = saved(tmp_path / "odd.tif", np.array([[0, value]], np.float32))
        sentence(read_picture, path, mentions=["odd.tif", mention, "0 to 255"])


def swapped_profile():
    """sRGB's own profile with the red and green primaries exchanged: a conversion that shows."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, green = data.index(b"rXYZ"), data.index(b"gXYZ")
    data[red : red + 4], data[green : green + 4] = b"gXYZ", b"rXYZ"
    return bytes(data).replace("sRGB".encode("utf-16-be"), "swap".encode("utf-16-be"))


def test_an_embedded_profile_is_converted(tmp_path):
    path = saved(tmp_path / "a.png", CORNERS, icc_profile=swapped_profile())
    picture = read_picture(path)
    assert np.abs(picture.pixels[0].astype(int) - [GREEN, RED]).max() < 12
    assert len(picture.notes) == 1
    assert picture.notes[0].startswith("colours converted from the profile 'swap")
    transparent = saved(tmp_path / "b.png", CORNERS, "RGBA", icc_profile=swapped_profile())
    np.testing.assert_array_equal(read_picture(transparent).pixels, picture.pixels)


def test_an_srgb_profile_leaves_every_value_as_stored(tmp_path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    picture = read_picture(saved(tmp_path / "a.png", PHOTO, icc_profile=profile))
    np.testing.assert_array_equal(picture.pixels, PHOTO)
    assert picture.notes == ()


@pytest.mark.parametrize(("mode", "profile"), [("RGB", b"no profile at all"), ("L", None)])
def test_a_profile_that_does_not_fit_is_ignored_and_noted(tmp_path, mode, profile):
    picture = read_picture(saved(tmp_path / "a.png", PHOTO, mode, icc_profile=profile or swapped_profile()))
    np.testing.assert_array_equal(picture.pixels, np.array(Image.fromarray(PHOTO).convert(mode).convert("RGB")))
    assert picture.notes == ("colour profile that does not fit ignored",)


def test_an_unknown_colour_mode_is_one_sentence():
    sentence(as_picture, Image.new("La", (2, 2)), "odd", mentions=["'odd'", "La", "expected RGB"])


GREY = PHOTO[:, :, 0]


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (PHOTO, PHOTO),
        (PHOTO / 255, PHOTO),
        ((PHOTO / 255).astype(np.float32), PHOTO),
        (PHOTO.astype(np.uint16) * 257, PHOTO),
        ((PHOTO.astype(np.uint16) * 257).astype(">u2"), PHOTO),
        (PHOTO[::-1, ::-1], PHOTO[::-1, ::-1]),
        (GREY, np.stack([GREY] * 3, 2)),
        (GREY[:, :, None], np.stack([GREY] * 3, 2)),
        (GREY > 100, np.stack([(GREY > 100) * 255] * 3, 2)),
        (np.dstack([PHOTO, np.full_like(GREY, 255)]), PHOTO),
        (PHOTO[:3], PHOTO[:3]),
    ],
)
def test_arrays(array, expected):
    picture = as_picture(array, "frame")
    np.testing.assert_array_equal(picture.pixels, expected)
    assert picture.pixels.dtype == np.uint8
    assert picture.pixels.flags.c_contiguous
    assert not np.shares_memory(picture.pixels, array)
    assert picture.name == "frame"


@pytest.mark.parametrize(
    ("array", "mentions"),
    [
        (np.zeros((3, 20, 30), np.uint8), ["(3, 20, 30)", "transpose(1, 2, 0)"]),
        (np.zeros((1, 20, 30), np.uint8), ["channels first"]),
        (np.zeros((20, 30, 2), np.uint8), ["(20, 30, 2)", "(H, W, 3)"]),
        (np.zeros((2, 20, 30, 3), np.uint8), ["(2, 20, 30, 3)"]),
        (np.zeros(5, np.uint8), ["(5)"]),
        (np.zeros((0, 5, 3), np.uint8), ["no pixels"]),
        (PHOTO.astype(np.float32), ["from 0 to 25", "expected values from 0 to 1"]),
        (PHOTO / 255 - 0.5, ["expected values from 0 to 1"]),
        (np.full((4, 4, 3), np.nan), ["NaN", "expected values from 0 to 1"]),
        (PHOTO.astype(np.int64), ["int64", "expected uint8"]),
        (PHOTO.astype(object), ["object"]),
        (PHOTO.astype(complex), ["complex"]),
    ],
)
def test_arrays_that_are_no_pictures(array, mentions):
    sentence(as_picture, array, "frame 7", mentions=["frame 7", *mentions])


@pytest.mark.parametrize(("bits", "top"), [(10, 900), (12, 4095), (14, 9000), (16, 40000)])
def test_whole_numbers_fill_the_bits_they_use(bits, top):
    values = np.arange(0, top + 1, dtype=np.uint16)[None]
    for given in (values, Image.fromarray(values)):
        picture = as_picture(given, "deep")
        np.testing.assert_allclose(picture.exact.ravel(), values[0] / (2**bits - 1), rtol=1e-6)
        np.testing.assert_array_equal(picture.pixels[0, :, 1], np.rint(values[0].astype(float) * 255 / (2**bits - 1)))
        said = f"16-bit values up to {top} read as {bits}-bit, 0 to {2**bits - 1}; --range says otherwise"
        assert (said in picture.notes) == (bits < 16)


def test_a_range_says_what_black_and_white_are():
    hounsfield = np.array([[-1000, -200, 0, 600, 3000]], np.int16)
    picture = as_picture(hounsfield, "scan", value_range=(-200, 600))
    assert picture.exact.tolist() == [[0.0, 0.0, 0.25, 1.0, 1.0]]
    assert picture.pixels[0, :, 0].tolist() == [0, 0, 64, 255, 255]
    assert picture.notes == ("40.0% of the values lie outside -200 to 600, and are clipped",)
    sentence(as_picture, hounsfield, "scan", mentions=["int16", "value_range=(low, high)", "--range LOW,HIGH"])
    narrow = as_picture(np.array([[[0, 50, 250]]], np.uint8), value_range=(0, 100))
    assert narrow.pixels[0, 0].tolist() == [0, 128, 255]
    assert as_picture(Image.fromarray(np.full((2, 2), 50, np.uint8)), value_range=(0, 100)).pixels.max() == 128
    for wrong in ((5, 5), (1,), (0, np.inf)):
        sentence(as_picture, hounsfield, value_range=wrong, mentions="(0, 4095)", kind=ParameterError)


def test_floats_keep_their_depth_and_levels_their_bytes():
    ramp = np.linspace(0, 1, 1000)[None]
    np.testing.assert_array_equal(as_picture(ramp).exact, ramp.astype(np.float32))
    levels = np.arange(256, dtype=np.uint8)[None]
    for given in (levels, levels / 255, (levels / 255).astype(np.float32), levels.astype(np.uint16) * 257):
        picture = as_picture(given)
        assert picture.exact is None
        np.testing.assert_array_equal(picture.pixels[0, :, 2], levels[0])

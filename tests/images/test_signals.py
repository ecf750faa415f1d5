"""Signals from arrays, tables and sounds."""

from __future__ import annotations

import sys
import wave

import numpy as np
import pytest

from cnnviz.core.sample import Signal
from cnnviz.errors import MissingExtraError, PassingPictureError, PictureError
from cnnviz.images.signals import as_signal, read_signal

RNG = np.random.default_rng(0)
TWO = RNG.normal(size=(2, 50)).astype(np.float32)


def saved(path, array):
    np.save(path, array)
    return path


@pytest.mark.parametrize(
    ("array", "channels", "expected"),
    [
        (TWO[0], 1, TWO[:1]),
        (TWO[0], None, TWO[:1]),
        (TWO, 2, TWO),
        (TWO.T, 2, TWO),
        (TWO.T, None, TWO),
        (TWO[:1], 1, TWO[:1]),
        (TWO[:1].T, 1, TWO[:1]),
        ((TWO * 100).astype(np.int16), 2, (TWO * 100).astype(np.int16)),
        (TWO > 0, 2, TWO > 0),
        (np.asfortranarray(TWO.astype(np.float64)), 2, TWO),
    ],
)
def test_the_axis_of_channels_is_as_long_as_the_network_has_channels(tmp_path, array, channels, expected):
    signal = read_signal(saved(tmp_path / "a.npy", array), channels)
    np.testing.assert_array_equal(signal.values, expected.astype(np.float32))
    assert signal.values.dtype == np.float32
    assert signal.values.flags.c_contiguous
    assert (signal.name, signal.rate) == ("a.npy", None)


def test_a_shape_that_does_not_say_which_axis_is_told(tmp_path):
    square = RNG.normal(size=(3, 3))
    signal = read_signal(saved(tmp_path / "a.npy", square), 3)
    np.testing.assert_array_equal(signal.values, square.astype(np.float32))
    assert signal.notes == ("shape (3, 3) taken as (C, T): channels first",)
    assert read_signal(saved(tmp_path / "a.npy", TWO), 2).notes == ()


@pytest.mark.parametrize(
    ("array", "channels", "words"),
    [
        (TWO, 12, r"shape \(2, 50\); the network takes 12 channels"),
        (TWO[0], 2, "one channel; the network takes 2"),
        (TWO[None], 2, r"shape \(1, 2, 50\); expected \(T\), \(C, T\) or \(T, C\)"),
        (np.array(3.0), 1, r"shape \(\)"),
        (np.zeros((2, 0)), 2, "no values"),
        (TWO.astype(complex), 2, "complex128"),
        (np.array(["a", "b"]), 1, "real numbers"),
        (np.where(TWO > 2, np.nan, TWO), 2, r"not finite, the first at \[.*\(NaN\)"),
        (np.where(TWO > 2, np.inf, TWO), 2, "infinite"),
        (TWO.astype(np.float64) * 1e300, 2, "too large for 32-bit floats"),
    ],
)
def test_other_arrays_are_refused_in_a_sentence(tmp_path, array, channels, words):
    for ask in (
        lambda: read_signal(saved(tmp_path / "a.npy", array), channels),
        lambda: as_signal(array, "it", channels),
    ):
        with pytest.raises(PictureError, match=words) as caught:
            ask()
        assert "\n" not in str(caught.value)


class Evil:
    def __reduce__(self):
        return exec, ("import pathlib; pathlib.Path('ran').touch()",)


def test_objects_in_an_array_are_never_loaded(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("a.npy", np.array([Evil()], dtype=object), allow_pickle=True)
    with pytest.raises(PictureError, match="Python objects, which are never loaded"):
        read_signal("a.npy", 1)
    (tmp_path / "b.npy").write_bytes(b"\x80\x04cos\nsystem\n(S'touch ran'\ntR.")
    with pytest.raises(PictureError, match=r"no \.npy file"):
        read_signal("b.npy", 1)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"hello", "no .npy file"),
        (b"\x93NUMPY\x01\x00\x10", "truncated or damaged"),
        (b"\x93NUMPY\x01\x00\x10\x00{'descr': '<f4'}", "truncated or damaged"),
    ],
)
def test_damaged_arrays_are_refused(tmp_path, content, words):
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(PictureError, match=words):
        read_signal(tmp_path / "a.npy", 1)


def test_a_header_that_promises_more_than_there_is(tmp_path):
    saved(tmp_path / "a.npy", TWO)
    content = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(content[:-20])
    with pytest.raises(PictureError, match="truncated or damaged"):
        read_signal(tmp_path / "a.npy", 2)
    (tmp_path / "a.npy").write_bytes(content.replace(b"(2, 50)", b"(2, 5000000000000)"[:7]).replace(b"'<f4'", b"'<f8'"))
    with pytest.raises(PictureError):
        read_signal(tmp_path / "a.npy", 2)


def test_an_array_larger_than_memory_is_refused_before_it_is_read(tmp_path):
    sparse = np.lib.format.open_memmap(tmp_path / "a.npy", mode="w+", dtype=np.uint8, shape=(1, 1 << 40))
    del sparse
    with pytest.raises(PassingPictureError, match="of memory to read"):
        read_signal(tmp_path / "a.npy", 1)


def table(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_the_columns_of_a_table_are_channels_and_its_times_the_rate(tmp_path):
    rows = "\n".join(f"{row / 250:.3f},{row},{-row}" for row in range(20))
    signal = read_signal(table(tmp_path / "a.csv", f"Time (s),I,II\n{rows}\n\n"), 2)
    np.testing.assert_array_equal(signal.values, [np.arange(20), -np.arange(20)])
    assert signal.rate == pytest.approx(250)
    assert signal.channel_names == ("I", "II")
    assert signal.name == "a.csv"


@pytest.mark.parametrize(
    ("name", "text", "rate", "names"),
    [
        ("a.csv", "1,2\n3,4\n5,6\n", None, ()),
        ("a.csv", "﻿1;2\n3;4\n5;6", None, ()),
        ("a.csv", "a;b\n1,0;2,0\n3,0;4,0\n5,0;6,0\n", None, ("a", "b")),
        ("a.tsv", "1\t2\n3\t4\n5\t6\n", None, ()),
        ("a.csv", "time_ms,a,b\n0,1,2\n4,3,4\n8,5,6\n", 250.0, ("a", "b")),
        ("a.csv", "a,t,b\n1,0,2\n3,.5,4\n5,1,6\n", 2.0, ("a", "b")),
        ("a.csv", "\n\n0,1\n1,2\n3,4\n5,6\n", None, ("0", "1")),
        ("a.csv", '"a","b"\n"1","2"\n"3","4"\n"5","6"\n', None, ("a", "b")),
        ("a.csv", "a,b\r\n1,2\r\n3,4\r\n5,6\r\n", None, ("a", "b")),
        ("a.csv", "seconds,0,1\n0,1,2\n1,3,4\n2,5,6\n", 1.0, ("0", "1")),
    ],
)
def test_tables_of_many_makes(tmp_path, name, text, rate, names):
    if names == ("0", "1") and rate is None:  # numbers alone are no names
        signal = read_signal(table(tmp_path / name, text), 2)
        np.testing.assert_array_equal(signal.values, [[0, 1, 3, 5], [1, 2, 4, 6]])
        return
    signal = read_signal(table(tmp_path / name, text), 2)
    np.testing.assert_array_equal(signal.values, [[1, 3, 5], [2, 4, 6]])
    assert (signal.rate, signal.channel_names) == (rate, names)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,b\n1,2\n3,\n", r"a blank cell in row 3, column 2 \(b\)"),
        ("1,2\n3,x\n", "'x' in row 2, column 2;"),
        ("1,2\nnan,3\n", "'nan' in row 2, column 1"),
        ("1,2\n3,inf\n", "'inf' in row 2, column 2"),
        ("1,2\n3\n", "1 cell in row 2; expected 2"),
        ("1,2\n\n3,4\n", "0 cells in row 2"),
        ("1.5,x\n3,4\n", "numbers in its first row, and 'x' among them"),
        ("a,b\n", "a line of names and no numbers"),
        ("", "is empty"),
        ("\n \n", "is empty"),
        ("t,a,b\n0,1,2\n1,1,2\n3,1,2\n", "not equally spaced, as in row"),
        ("t,a,b\n0,1,2\n0,1,2\n0,1,2\n", "not equally spaced"),
        ("t,time,b\n0,1,2\n1,1,2\n", "several columns of times: t, time"),
        ("t,a\n0,1\n1,1\n", "1 column of values beside the times; the network takes 2 channels"),
        ("a,b,c\n0,1,2\n", "3 columns of values; the network takes 2 channels"),
    ],
)
def test_broken_tables_are_refused_with_row_and_column(tmp_path, text, words):
    with pytest.raises(PictureError, match=words) as caught:
        read_signal(table(tmp_path / "a.csv", text), 2)
    assert "\n" not in str(caught.value)


def test_a_table_whose_rows_are_channels_is_told(tmp_path):
    signal = read_signal(table(tmp_path / "a.csv", "1,2,3\n4,5,6\n"), 2)
    np.testing.assert_array_equal(signal.values, [[1, 2, 3], [4, 5, 6]])
    assert signal.notes == ("rows taken as channels: the network takes 2",)


def test_binary_is_no_table(tmp_path):
    (tmp_path / "a.csv").write_bytes(bytes(range(256)) * 4)
    with pytest.raises(PictureError, match="is not a text file"):
        read_signal(tmp_path / "a.csv", 1)


def write_wave(path, stored, *, width=2, rate=8000):
    """Whole numbers ``(T, C)`` as PCM."""
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(stored.shape[1])
        sound.setsampwidth(width)
        sound.setframerate(rate)
        if width == 1:
            data = (stored + 128).astype(np.uint8).tobytes()
        elif width == 3:
            data = stored.astype("<i4").reshape(-1, 1).view(np.uint8)[:, :3].tobytes()
        else:
            data = stored.astype(f"<i{width}").tobytes()
        sound.writeframes(data)
    return path


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_sounds_of_every_depth_lie_from_minus_one_to_one(tmp_path, width):
    top = 1 << (8 * width - 1)
    stored = np.array([[-top, 0], [top - 1, top // 2], [1, -1]])
    signal = read_signal(write_wave(tmp_path / "a.wav", stored, width=width), 2)
    np.testing.assert_array_equal(signal.values, (stored.T / top).astype(np.float32))
    assert signal.rate == 8000
    soundfile = pytest.importorskip("soundfile", reason="needs soundfile")
    np.testing.assert_allclose(signal.values, soundfile.read(tmp_path / "a.wav")[0].T, atol=1e-7)


def test_several_channels_are_averaged_for_a_network_of_one(tmp_path):
    stored = RNG.integers(-1000, 1000, (20, 2))
    path = write_wave(tmp_path / "a.wav", stored)
    signal = read_signal(path, 1)
    np.testing.assert_allclose(signal.values[0], stored.mean(axis=1) / 32768, atol=1e-7)
    assert signal.notes == ("2 channels averaged to one",)
    with pytest.raises(PictureError, match="has 2 channels; the network takes 12"):
        read_signal(path, 12)
    assert read_signal(path).channels == 2


def test_damaged_sounds_are_refused_and_a_short_one_told(tmp_path):
    path = write_wave(tmp_path / "a.wav", RNG.integers(-1000, 1000, (100, 1)))
    content = path.read_bytes()
    path.write_bytes(content[:-50])
    assert read_signal(path, 1).size == (75,)
    assert read_signal(path, 1).notes == ("the file ends after 75 of 100 samples",)
    for made, words in [
        (b"", "is empty"), (b"hello" * 20, "damaged"), (content[:30], "damaged"), (content[:44], "no samples"),
        (content[:22] + bytes(2) + content[24:], "damaged"),
    ]:  # fmt: skip
        path.write_bytes(made)
        with pytest.raises(PictureError, match=words) as caught:
            read_signal(path, 1)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("suffix", "subtype"), [("wav", "FLOAT"), ("wav", "DOUBLE"), ("flac", "PCM_16"), ("ogg", "VORBIS")]
)
def test_other_sounds_are_read_by_soundfile(tmp_path, suffix, subtype):
    soundfile = pytest.importorskip("soundfile", reason="needs soundfile")
    tone = 0.5 * np.sin(np.arange(4000) / 10)
    soundfile.write(tmp_path / f"a.{suffix}", tone, 16000, subtype=subtype)
    signal = read_signal(tmp_path / f"a.{suffix}", 1)
    assert (signal.rate, signal.channels) == (16000, 1)
    np.testing.assert_allclose(signal.values[0, :4000], tone, atol=0.05 if suffix == "ogg" else 1e-4)
    (tmp_path / f"a.{suffix}").write_bytes(b"no sound at all, but some bytes")
    with pytest.raises(PictureError, match="damaged"):
        read_signal(tmp_path / f"a.{suffix}", 1)


def test_without_soundfile_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "soundfile", None)
    (tmp_path / "a.flac").write_bytes(b"fLaC" * 20)
    with pytest.raises(MissingExtraError, match=r"\.flac.*cnnviz\[audio\]"):
        read_signal(tmp_path / "a.flac", 1)
    assert read_signal(write_wave(tmp_path / "a.wav", np.ones((9, 1))), 1).size == (9,)


def test_files_of_other_kinds_and_none(tmp_path):
    (tmp_path / "photo.png").write_bytes(b"\x89PNG")
    with pytest.raises(PictureError, match=r"'.*photo.png' is not a signal; expected .*\.csv"):
        read_signal(tmp_path / "photo.png", 1)
    with pytest.raises(PictureError, match="There is no file"):
        read_signal(tmp_path / "absent.npy", 1)
    assert isinstance(as_signal(TWO, "it"), Signal)

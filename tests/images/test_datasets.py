"""Data sets of every kind: their keys, classes, fingerprints and pictures, and what is said of bad ones."""

import io
import json
import os
import pickle
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import cnnviz
from cnnviz.core.picture import Picture
from cnnviz.errors import MissingExtraError, PictureError, UsageError
from cnnviz.images.datasets.dataset import Dataset, Keys
from cnnviz.images.datasets.open import open_dataset
from cnnviz.images.synthetic.scenes import SHAPES, draw_scene


def pixels(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (6, 8, 3), dtype=np.uint8)


def encoded(number: int, form: str = "PNG") -> bytes:
    held = io.BytesIO()
    Image.fromarray(pixels(number)).save(held, form)
    return held.getvalue()


def write(path: Path, number: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(number))
    return path


def write_tar(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def sentence(kind, call, *mentions) -> str:
    with pytest.raises(kind) as caught:
        call()
    text = str(caught.value)
    assert "\n" not in text
    for mention in mentions:
        assert mention in text
    return text


def is_picture(dataset: Dataset, index: int, number: int) -> bool:
    return np.array_equal(dataset.picture(index).pixels, pixels(number))


# keys


@pytest.mark.parametrize("texts", [[], ["a"], ["", "b", ""], ["ärger.jpg", "日本.png", "a/b c.jpg"]])
def test_keys_are_a_sequence_of_the_texts(texts):
    keys = Keys(texts)
    assert list(keys) == texts
    assert keys[-2:] == texts[-2:]
    assert pickle.loads(pickle.dumps(keys))[:] == texts
    with pytest.raises(IndexError):
        keys[len(texts)]


def test_a_million_keys_are_small():
    keys = Keys(f"folder/picture {number:07}.jpg" for number in range(100_000))
    assert len(pickle.dumps(keys)) < 100_000 * (26 + 9)


# folders


def test_a_tree_sorted_bytewise_with_hidden_and_other_files_left_out(tmp_path):
    for number, name in enumerate(["b.png", "a/z.png", "a/deep/er/x.PNG", "a.png", "É.png", "Z.png", "a b.png"]):
        write(tmp_path / name, number)
    write(tmp_path / ".hidden/x.png", 9)
    write(tmp_path / "a/.x.png", 9)
    (tmp_path / "readme.md").write_text("words")
    found = open_dataset(tmp_path)
    assert list(found.keys) == ["Z.png", "a b.png", "a.png", "a/deep/er/x.PNG", "a/z.png", "b.png", "É.png"]
    assert [key.encode() for key in found.keys] == sorted(key.encode() for key in found.keys)
    assert found.classes is None
    assert found.label(0) is None
    assert is_picture(found, 0, 5)
    assert found.picture(3).name == "x.PNG"
    assert found.name == tmp_path.name
    assert cnnviz.open_dataset is open_dataset


def test_class_folders_as_torchvision_has_them(tmp_path):
    from torchvision.datasets import ImageFolder

    for number, name in enumerate(["dog/1.png", "dog/more/2.png", "cat/3.png", "Zebra/4.png"]):
        write(tmp_path / name, number)
    theirs = ImageFolder(tmp_path)
    for classes in (True, None):
        ours = open_dataset(tmp_path, classes=classes)
        assert ours.classes == tuple(theirs.classes)
        labels = {str(tmp_path / key): ours.label(index) for index, key in enumerate(ours.keys)}
        assert labels == dict(theirs.samples)
    assert open_dataset(tmp_path, classes=True).notes == ()
    assert "3 folders" in open_dataset(tmp_path).notes[0]
    assert open_dataset(tmp_path, classes=False).classes is None


def test_classes_are_recognised_only_where_nothing_speaks_against_them(tmp_path):
    write(tmp_path / "only/1.png", 1)
    assert open_dataset(tmp_path).classes is None
    assert open_dataset(tmp_path, classes=True).classes == ("only",)
    write(tmp_path / "other/1.png", 1)
    write(tmp_path / "loose.png", 1)
    assert open_dataset(tmp_path).classes is None
    named = open_dataset(tmp_path, classes=True)
    assert named.classes == ("only", "other")
    assert [named.label(index) for index in range(3)] == [None, 0, 1]
    assert named.notes == ("pictures beside the class folders have no class: 1",)


def test_links_are_followed_but_not_in_circles(tmp_path):
    write(tmp_path / "store/a.png", 1)
    (tmp_path / "set").mkdir()
    (tmp_path / "set/link").symlink_to(tmp_path / "store")
    (tmp_path / "store/back").symlink_to(tmp_path / "set")
    assert list(open_dataset(tmp_path / "set").keys) == ["link/a.png"]


def test_a_name_that_is_no_text_still_opens(tmp_path):
    try:
        write(Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.png")), 3)
    except OSError:
        pytest.skip("this file system takes only names that are text")
    found = open_dataset(tmp_path)
    assert list(found.keys) == ["\\udcff.png"]
    assert is_picture(found, 0, 3)
    assert found.mark(0) == str(len(encoded(3)))


def test_empty_folders_and_missing_ones(tmp_path):
    sentence(PictureError, lambda: open_dataset(tmp_path), "hold no picture", ".jpg")
    write_tar(tmp_path / "x.tar", {})
    sentence(PictureError, lambda: open_dataset(tmp_path), "name-{000..009}.tar")
    sentence(PictureError, lambda: open_dataset(tmp_path / "no"), "There is no folder or file", "shapes:COUNT")
    write(tmp_path / "a.png", 1)
    sentence(PictureError, lambda: open_dataset(tmp_path, classes=True), "Classes are folders")
    sentence(UsageError, lambda: open_dataset("shapes:3", classes=True), "a folder only")


def test_corrupt_and_vanished_pictures_are_said_when_read_and_never_with_the_folders_path(tmp_path):
    write(tmp_path / "in/a.png", 1).write_bytes(encoded(1)[:40])
    (tmp_path / "in/b.png").write_bytes(b"")
    write(tmp_path / "in/c.png", 1)
    found = open_dataset(tmp_path / "in")
    (tmp_path / "in/c.png").unlink()
    for index, mention in enumerate(["damaged", "empty (0 bytes)", "no such file"]):
        text = sentence(PictureError, lambda i=index: found.item(i), found.keys[index], mention)
        assert str(tmp_path) not in text


# lists


def test_a_list_with_classes_comments_duplicates_and_spaces(tmp_path):
    for number, name in enumerate(["sub/a.png", "b c.png", "d.png"]):
        write(tmp_path / name, number)
    listing = tmp_path / "list.txt"
    listing.write_text(
        "\ufeff# my pictures\n\nsub/a.png cat\n./b c.png\tgolden retriever\nd.png\nsub/../d.png\n", "utf-8"
    )
    found = open_dataset(listing)
    assert list(found.keys) == ["b c.png", "d.png", "sub/a.png"]
    assert found.classes == ("cat", "golden retriever")
    assert [found.label(index) for index in range(3)] == [1, None, 0]
    assert found.notes == ("lines of 'list.txt' that repeat an earlier one: 1",)
    assert [is_picture(found, index, number) for index, number in enumerate([1, 2, 0])] == [True] * 3


def test_numbers_in_a_list_are_the_labels_themselves(tmp_path):
    write(tmp_path / "a.png", 0)
    (tmp_path / "list.txt").write_text("a.png 3\nmissing.png 1\n")
    found = open_dataset(tmp_path / "list.txt")
    assert found.classes == ("0", "1", "2", "3")
    assert [found.label(0), found.label(1)] == [3, 1]
    sentence(PictureError, lambda: found.picture(1), "missing.png", "no such file")


def test_a_list_leading_elsewhere_has_keys_below_the_folder_in_common(tmp_path):
    for name in ("x/one/a.png", "x/two/b.png"):
        write(tmp_path / name, 0)
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists/l.txt").write_text(f"{tmp_path}/x/one/a.png\n../x/two/b.png\n")
    assert list(open_dataset(tmp_path / "lists/l.txt").keys) == ["one/a.png", "two/b.png"]


def test_bad_lists(tmp_path):
    listing = tmp_path / "list.txt"
    listing.write_text("# nothing\n")
    sentence(PictureError, lambda: open_dataset(listing), "names no picture")
    listing.write_text("a.png 1\na.png 2\n")
    sentence(PictureError, lambda: open_dataset(listing), "Line 2", "another class")
    sentence(PictureError, lambda: open_dataset(tmp_path / "no.txt"), "cannot be read", "no such file")


# tars


def test_tars_in_the_webdataset_layout(tmp_path):
    write_tar(
        tmp_path / "s-000.tar",
        {
            "0001.jpg": encoded(1, "JPEG"),
            "0001.cls": b"2\n",
            "dir/0002.png": encoded(2),
            "dir/0002.json": b'{"label": 0}',
        },
    )
    write_tar(tmp_path / "s-001.tar", {"./0003.cls": b"1", "./0003.seg.png": encoded(9), "./0003.png": encoded(3)})
    found = open_dataset(tmp_path / "s-{000..001}.tar")
    assert list(found.keys) == ["s-000.tar/0001.jpg", "s-000.tar/dir/0002.png", "s-001.tar/0003.png"]
    assert found.classes == ("0", "1", "2")
    assert [found.label(index) for index in range(3)] == [2, 0, 1]
    assert is_picture(found, 1, 2)
    assert is_picture(found, 2, 3)
    assert found.picture(0).name == "0001.jpg"
    assert found.mark(1) == str(len(encoded(2)))
    given = open_dataset([tmp_path / "s-000.tar", str(tmp_path / "s-001.tar")])
    assert given.fingerprint == found.fingerprint


def test_tars_with_class_names_samples_without_pictures_and_links(tmp_path):
    path = write_tar(
        tmp_path / "x.tar",
        {
            "a.png": encoded(1),
            "a.json": json.dumps({"cls": "cat", "caption": "x"}).encode(),
            "b.txt": b"words",
            "c.png": encoded(2),
            "c.json": b"{broken",
            "d.png": encoded(2)[:50],
        },
    )
    with tarfile.open(path, "a") as archive:
        link = tarfile.TarInfo("e.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    found = open_dataset(path)
    assert list(found.keys) == ["x.tar/a.png", "x.tar/c.png", "x.tar/d.png"]
    assert found.classes == ("cat",)
    assert [found.label(index) for index in range(3)] == [0, None, None]
    assert found.notes == ("samples of 'x.tar' without a picture were left out: 1",)
    sentence(PictureError, lambda: found.item(2), "x.tar/d.png", "damaged")


def test_a_name_that_comes_twice_in_a_tar_counts_once(tmp_path):
    path = write_tar(tmp_path / "x.tar", {"a.png": encoded(1), "b.png": encoded(2)})
    with tarfile.open(path, "a") as archive:
        info = tarfile.TarInfo("a.png")
        info.size = len(encoded(3))
        archive.addfile(info, io.BytesIO(encoded(3)))
    found = open_dataset(path)
    assert list(found.keys) == ["x.tar/a.png", "x.tar/b.png"]
    assert is_picture(found, 0, 1)
    assert found.notes == ("samples whose name was there before were left out: 1",)


def test_tars_that_are_refused(tmp_path):
    write_tar(tmp_path / "nested.tar", {"inner.tar": b"x"})
    sentence(PictureError, lambda: open_dataset(tmp_path / "nested.tar"), "holds a tar itself")
    write_tar(tmp_path / "none.tar", {"a.txt": b"x"})
    sentence(PictureError, lambda: open_dataset(tmp_path / "none.tar"), "hold no picture")
    (tmp_path / "junk.tar").write_bytes(b"junk" * 400)
    sentence(PictureError, lambda: open_dataset(tmp_path / "junk.tar"), "is not a tar file")
    with tarfile.open(tmp_path / "z.tar.gz", "w:gz"):
        pass
    sentence(PictureError, lambda: open_dataset(tmp_path / "z.tar.gz"), "compressed")
    sentence(PictureError, lambda: open_dataset(tmp_path / "no.tar"), "There is no file")
    sentence(PictureError, lambda: open_dataset(tmp_path / "s-{5..3}.tar"), "range", "smaller number first")


def test_a_tar_cut_off_after_it_was_opened(tmp_path):
    path = write_tar(tmp_path / "x.tar", {"a.png": encoded(1), "b.png": encoded(2)})
    found = open_dataset(path)
    os.truncate(path, 1100)
    sentence(PictureError, lambda: found.item(1), "cut off", "x.tar/b.png")
    path.unlink()
    sentence(PictureError, lambda: found.item(0), "cannot be read")


# drawn shapes


def test_drawn_shapes_are_a_number_and_a_seed():
    found = open_dataset("shapes:12")
    assert len(found) == 12
    assert found.classes == SHAPES
    for index in (0, 7, 11):
        scene = draw_scene(index)
        assert np.array_equal(found.picture(index).pixels, scene.pixels)
        assert found.label(index) == scene.target
    more = open_dataset("shapes:20:3")
    assert list(more.keys[:12]) == list(found.keys)
    assert np.array_equal(more.picture(5).pixels, draw_scene(5, seed=3).pixels)
    assert [more.label(index) for index in range(20)] == [draw_scene(index, seed=3).target for index in range(20)]
    assert open_dataset("shapes:12:3").fingerprint != found.fingerprint
    for wrong in ("shapes:", "shapes:0", "shapes:many", "shapes:3:x", "shapes:-1"):
        sentence(UsageError, lambda text=wrong: open_dataset(text), "shapes:COUNT")


# what a script holds


def test_a_sequence_of_paths_arrays_and_pictures(tmp_path):
    path = write(tmp_path / "a.png", 1)
    found = open_dataset(
        [path, str(path), pixels(2), Picture(pixels(3), "mine"), Image.fromarray(pixels(4)), "gone.png"]
    )
    assert list(found.keys) == ["0 a.png", "1 a.png", "2", "3 mine", "4", "5 gone.png"]
    assert [is_picture(found, index, number) for index, number in enumerate([1, 1, 2, 3, 4])] == [True] * 5
    sentence(PictureError, lambda: found.item(5), "gone.png")
    sentence(UsageError, lambda: open_dataset([]), "no images")
    sentence(UsageError, lambda: open_dataset([3]), "int")
    sentence(UsageError, lambda: open_dataset({"a": 1}), "dict")
    assert len(open_dataset([pixels(0)] * 11).keys[0]) == 2
    assert open_dataset(path).keys[0] == "0 a.png"


def test_a_float_tensor_is_network_input():
    batch = torch.randn(3, 5, 4, 4)
    found = open_dataset(batch)
    assert torch.equal(found.item(1), batch[1])
    sentence(UsageError, lambda: found.picture(1), "float tensor")
    assert open_dataset(found) is found
    assert found.fingerprint == open_dataset(batch.clone()).fingerprint != open_dataset(batch + 1).fingerprint


# Hugging Face


class Value:
    """A column of numbers or text, as the library describes it."""


class ClassLabel:
    """A column of classes, as the library describes it."""

    names = ("cat", "dog")


class HuggingTable:
    """The part of ``datasets.Dataset`` that is used here; pictures are decoded on access unless cast."""

    def __init__(self, rows, features):
        self.rows, self.features, self.column_names = rows, features, list(features)

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, which):
        if isinstance(which, str):
            return [row[which] for row in self.rows]
        return self.rows[which]


def test_a_table_of_hugging_face():
    rows = [{"img": Image.fromarray(pixels(number)), "label": number % 2} for number in range(3)]
    rows.append({"img": {"bytes": encoded(3), "path": None}, "label": 0})
    rows.append({"img": {"bytes": b"junk" * 20, "path": None}, "label": None})
    rows.append({"img": {"bytes": None, "path": None}, "label": 1})
    found = open_dataset(HuggingTable(rows, {"img": Value(), "label": ClassLabel()}))
    assert list(found.keys) == list("012345")
    assert found.classes == ("cat", "dog")
    assert [found.label(index) for index in range(5)] == [0, 1, 0, 0, None]
    assert [is_picture(found, index, index) for index in range(4)] == [True] * 4
    sentence(PictureError, lambda: found.item(4), "row 4")
    sentence(PictureError, lambda: found.item(5), "holds no picture")
    assert len(found.fingerprint) == 64
    numbers = HuggingTable([{"image": pixels(0), "label": 7}], {"image": Value(), "label": Value()})
    assert open_dataset(numbers).label(0) == 7
    sentence(UsageError, lambda: open_dataset(HuggingTable([{"x": 1}], {"x": Value()})), "No column", "it has x")


def test_hugging_face_without_the_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    sentence(MissingExtraError, lambda: open_dataset("hf:mnist"), "cnnviz[datasets]")


def test_hugging_face_by_name(monkeypatch):
    table = HuggingTable([{"image": pixels(0)}], {"image": Value()})

    class Library:
        @staticmethod
        def load_dataset(name, split):
            if name != "user/set":
                raise FileNotFoundError("no such set.\nreally")
            assert split in ("train", "test")
            return table

    monkeypatch.setitem(sys.modules, "datasets", Library)
    assert open_dataset("hf:user/set").name == "hf:user/set:train"
    assert open_dataset("hf:user/set:test").name == "hf:user/set:test"
    sentence(UsageError, lambda: open_dataset("hf:other"), "'other'", "no such set. really")


# what all have in common


@pytest.fixture(params=["tree", "list", "tar", "shapes", "given", "tensor", "hugging face"])
def any_dataset(request, tmp_path):
    def build(exchanged: bool = False):
        folder = tmp_path / f"set{exchanged}"
        first = encoded(1, "TIFF" if exchanged else "PNG")
        folder.mkdir(exist_ok=True)
        for name, data in (("a.png", first), ("b.png", encoded(2))):
            (folder / name).write_bytes(data)
        (folder / "l.txt").write_text("a.png x\nb.png y\n")
        write_tar(folder / "t.tar", {"a.png": first, "a.cls": b"1", "b.png": encoded(2)})
        sources = {
            "tree": folder,
            "list": folder / "l.txt",
            "tar": folder / "t.tar",
            "shapes": "shapes:2:1" if exchanged else "shapes:2",
            "given": [pixels(4 if exchanged else 1), pixels(2)],
            "tensor": torch.full((2, 3, 4, 4), 1.0 + exchanged),
            "hugging face": HuggingTable([{"image": pixels(4 if exchanged else 1)}] * 2, {"image": Value()}),
        }
        return open_dataset(sources[request.param])

    return build


def test_a_copy_has_the_same_fingerprint_and_an_exchanged_picture_another(any_dataset):
    found = any_dataset()
    copy = pickle.loads(pickle.dumps(found))
    assert len(copy) == len(found) == 2
    assert copy.fingerprint == found.fingerprint == any_dataset().fingerprint
    assert any_dataset(exchanged=True).fingerprint != found.fingerprint
    assert list(copy.keys) == list(found.keys)
    assert copy.labels.tolist() == found.labels.tolist()
    first, again = (each.item(1) for each in (found, copy))
    assert np.array_equal(np.asarray(first), np.asarray(again))
    assert set(found.describe()) == {"name", "pictures", "classes", "fingerprint"}
    assert json.dumps(found.describe())
    assert "2 pictures" in repr(found)


def test_a_renamed_picture_changes_the_fingerprint(tmp_path):
    write(tmp_path / "a.png", 1)
    before = open_dataset(tmp_path).fingerprint
    (tmp_path / "a.png").rename(tmp_path / "b.png")
    assert open_dataset(tmp_path).fingerprint != before


def test_opening_files_needs_no_torch(tmp_path):
    write(tmp_path / "a.png", 1)
    code = "import sys, cnnviz; cnnviz.open_dataset(sys.argv[1]).picture(0); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False).returncode == 0

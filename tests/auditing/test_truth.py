"""True classes: names of a data set found among a network's classes, and tables of classes and groups."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

import cnnviz
from cnnviz.auditing.class_names import ClassNames
from cnnviz.auditing.class_table import read_class_table
from cnnviz.auditing.truth import true_classes
from cnnviz.auditing.wordnet import IMAGENET_IDS, is_imagenet, wordnet_id
from cnnviz.errors import PictureError, UsageError
from tests.support.networks import LABELS, Small, model_of


@pytest.fixture(scope="session")
def imagenet_labels():
    return cnnviz.load_model("squeezenet1_0", weights="none").labels


@pytest.fixture
def folder(tmp_path):
    """Two cats, a dog and a horse, which the network does not have."""

    def make(*names: str):
        for name in names:
            path = tmp_path / "data" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (32, 32)).save(path)
        return tmp_path / "data"

    return make


def data_of(folder):
    return cnnviz.open_dataset(folder)


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("cat", 0), ("CAT", 0), ("Great_White  shark", 1), ("great-white-shark", 1), ("tench", 2), ("Tinca_tinca", 2),
        ("3", 3), ("4 a-b", 4), ("a b", 4), ("7", None), ("horse", None), ("4 cat", None), ("n02123045", None),
    ],
)  # fmt: skip
def test_a_name_is_found_whatever_its_case_and_separators(name, index):
    names = ClassNames(("cat", "great white shark", "tench, Tinca tinca", "frog", "a-b"), 5)
    match = names.find(name)
    assert match.index == index
    assert bool(match.reason) == (index is None)


def test_the_nearest_label_is_offered():
    assert ClassNames(LABELS, 5).find("frogg").reason == "is no label of the network (did you mean 'frog'?)"
    assert ClassNames(LABELS, 5).find("9").reason == "is no class: they are 0 to 4"


def test_a_label_that_is_a_number_comes_before_an_index():
    assert ClassNames(("1", "0"), 2).find("1").index == 0


def test_two_labels_of_one_name_are_told_apart_by_index_or_wordnet_id(imagenet_labels):
    twins = list(imagenet_labels)
    twins[134] = twins[517] = "crane"
    twins[638], twins[639] = "maillot", "maillot, tank suit"
    names = ClassNames(twins, 1000)
    assert names.find("crane").index is None
    assert names.find("crane").reason == (
        "names 2 classes: crane (134), crane (517); name each by its index or WordNet id"
    )
    assert names.find("134").index == names.find("134_crane").index == names.find("n02012849").index == 134
    assert names.find("517").index == names.find("n03126707").index == names.find("n03126707-crane").index == 517
    assert (names.find("maillot").index, names.find("tank suit").index) == (638, 639)
    assert names.find("n03710637").index == 638
    assert names.find("n03710721").index == 639


def test_a_label_whose_name_begins_another_says_which_was_taken(imagenet_labels):
    names = ClassNames(imagenet_labels, 1000)
    assert (names.find("crane").index, names.find("crane").beside) == (517, (134,))
    assert (names.find("crane_bird").index, names.find("crane_bird").beside) == (134, ())
    assert (names.find("Maillot").index, names.find("Maillot").beside) == (638, (639,))


def test_every_label_of_the_1000_class_networks_is_found_by_its_name(imagenet_labels):
    names = ClassNames(imagenet_labels, 1000)
    assert [names.find(label.replace(" ", "_")).index for label in imagenet_labels] == list(range(1000))
    shouted = [names.find(label.replace(" ", "_").upper()).index for label in imagenet_labels]
    assert [index for index in range(1000) if shouted[index] != index] == [264, 474]
    assert names.find("CARDIGAN").reason.startswith("names 2 classes: Cardigan (264), cardigan (474)")


def test_wordnet_ids_are_those_of_the_classes():
    assert len(IMAGENET_IDS) == 1000
    assert list(IMAGENET_IDS) == sorted(IMAGENET_IDS)
    assert [IMAGENET_IDS[each] for each in ("n01440764", "n02123045", "n15075141")] == [0, 281, 999]
    assert [wordnet_id(each) for each in ("n02123045", "n02123045_tabby", "n0212304", "n021230456")] == [
        "n02123045", "n02123045", None, None,
    ]  # fmt: skip
    assert not is_imagenet([str(index) for index in range(1000)])


def test_wordnet_ids_agree_with_timm():
    timm_data = pytest.importorskip("timm.data")
    info = timm_data.ImageNetInfo("imagenet-1k")
    assert [info.index_to_label_name(index) for index in range(1000)] == list(IMAGENET_IDS)


def test_folders_are_the_networks_classes_and_others_are_counted(folder, small):
    data = data_of(folder("Cat/a.png", "Cat/b.png", "dog/a.png", "horse/a.png", "horse/b.png"))
    found = true_classes(small, data)
    assert found.classes.tolist() == [0, 0, 1, -1, -1]
    assert found.labels == LABELS
    assert (found.unknown, found.unlabelled, found.known) == ({"horse": 2}, 0, 3)
    assert found.notes == ("classes that are left out: 'horse' is no label of the network (2 pictures)",)


def test_a_network_without_labels_takes_the_order_of_names_where_there_are_as_many(folder):
    model = model_of(Small(classes=3), labels=None)
    found = true_classes(model, data_of(folder("b/1.png", "a/1.png", "c/1.png")))
    assert found.classes.tolist() == [0, 1, 2]
    assert found.labels == ("a", "b", "c")
    assert found.notes == (
        "the network has no labels: its classes are taken to be the data set's, in the order of their names",
    )


def test_a_network_without_labels_and_with_another_number_of_classes_has_none_of_them(folder):
    model = model_of(Small(classes=5), labels=None)
    found = true_classes(model, data_of(folder("b/1.png", "a/1.png")))
    assert found.known == 0
    assert found.unknown == {"a": 1, "b": 1}
    assert "give its labels, or name classes by index" in found.notes[0]


def test_numbers_are_indices_of_a_network_without_labels(folder):
    model = model_of(Small(classes=5), labels=None)
    found = true_classes(model, data_of(folder("4/1.png", "2/1.png", "7/1.png")))
    assert found.classes.tolist() == [2, 4, -1]
    assert found.labels[4] == "class 4"


def test_pictures_without_any_class_are_a_sentence(folder, small):
    with pytest.raises(PictureError, match="have no true classes; put them in a folder for each class"):
        true_classes(small, data_of(folder("a.png", "b.png")))


def test_a_table_gives_classes_and_groups(folder, small, tmp_path):
    data = data_of(folder("a.png", "b.png", "c.png", "d.png"))
    table = tmp_path / "table.csv"
    table.write_text("file,label,site,age\nb.png,dog,left,3\n./a.png,CAT,right,\nc,,left,4\nnone.png,cat,left,1\n")
    found = true_classes(small, data, table)
    assert found.classes.tolist() == [0, 1, -1, -1]
    assert found.groups == {"site": ("right", "left", "left", ""), "age": ("", "3", "4", "")}
    assert found.unlabelled == 2
    assert found.notes[:2] == (
        "rows of 'table.csv' whose picture is not in the data set: 1 ('none.png')",
        "pictures that 'table.csv' does not name: 1",
    )


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_table_without_a_first_line_of_names(tmp_path, separator):
    table = tmp_path / "table.csv"
    table.write_text(separator.join(["x/a.png", "cat", "left"]) + "\n" + separator.join(["b", "dog", "right"]))
    found = read_class_table(table, ["x/a.png", "y/b.png"])
    assert found.classes == ("cat", "dog")
    assert found.groups == {"column 3": ("left", "right")}


def test_a_table_of_groups_only_leaves_the_data_sets_classes(folder, small, tmp_path):
    table = tmp_path / "table.csv"
    table.write_text("key,site\ncat/a.png,left\n")
    found = true_classes(small, data_of(folder("cat/a.png", "dog/a.png")), table)
    assert found.classes.tolist() == [0, 1]
    assert found.groups == {"site": ("left", "")}


def test_a_file_name_that_two_pictures_share_names_neither(tmp_path):
    table = tmp_path / "table.csv"
    table.write_text("key,class\na.png,cat\ny/a.png,dog\n")
    assert read_class_table(table, ["x/a.png", "y/a.png"]).classes == (None, "dog")


def test_a_file_is_known_by_its_folder_too(tmp_path):
    table = tmp_path / "table.csv"
    table.write_text("key,class\nx/a.png,cat\ny/a.png,dog\n")
    assert read_class_table(table, ["data/x/a.png", "data/y/a.png"]).classes == ("cat", "dog")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("file,class\nother.png,cat\n", "names no picture of the data set; the first it names is 'other.png'"),
        ("a.png\n", "has one column"),
        ("", "has one column"),
        ("a.png,\x00\xff", "UTF-8"),
    ],
)
def test_a_table_that_cannot_be_used_is_a_sentence(tmp_path, text, sentence):
    table = tmp_path / "table.csv"
    table.write_bytes(text.encode("latin-1"))
    with pytest.raises(UsageError, match=sentence):
        read_class_table(table, ["a.png"])


def test_a_table_that_is_not_there_is_a_sentence(tmp_path):
    with pytest.raises(UsageError, match="There is no table"):
        read_class_table(tmp_path / "none.csv", ["a.png"])
    with pytest.raises(UsageError, match="cannot be read"):
        read_class_table(tmp_path, ["a.png"])


def test_classes_of_scenes_are_the_bundled_networks():
    model, data = cnnviz.load_model("shapes-resnet"), cnnviz.open_dataset("shapes:30")
    found = true_classes(model, data)
    assert [found.labels[each] for each in found.classes] == [data.classes[each] for each in data.labels]
    assert np.array_equal(found.classes, data.labels)

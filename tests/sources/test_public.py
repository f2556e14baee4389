"""The archive built from the public originals, small ones in their own formats here."""

import hashlib
import io
import pickle
import tarfile
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from small_course import SIZES, encode, noise
from web_server import serve

from hw1.archive.archive import EQUIVALENT, Archive
from hw1.archive.parts import PARTS, prepare
from hw1.data.arrays import Manifest, load_array
from hw1.run.errors import InputError
from hw1.sources import public
from hw1.sources.packing import pack
from hw1.sources.public import OFFICE_VALIDATION, TILE_VALIDATION, WINDOWS, load_plain, public_entries, spread

CLASSES, IMAGES = 100, 10  # of the small CIFAR-100, images a class


def tar_of(path, name, content):
    with tarfile.open(path, "w:gz") as tar:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))


def cifar():
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.repeat(np.arange(CLASSES), IMAGES))
    pixels = rng.integers(0, 256, (len(labels), 3072), np.uint8)
    pixels[:, 0] = labels  # the first red value says the class
    return {"data": pixels, "fine_labels": labels.tolist(), "filenames": ["a"] * len(labels)}


def mini():
    images = np.stack([np.full((84, 84, 3), 10 * index, np.uint8) for index in range(6)])
    return {"image_data": images, "class_dict": {"n02": [0, 2, 4], "n01": [1, 3, 5]}}


@pytest.fixture
def originals(tmp_path, monkeypatch):
    folder = tmp_path / "originals"
    folder.mkdir()
    tar_of(folder / "cifar-100-python.tar.gz", "cifar-100-python/train", pickle.dumps(cifar(), 2))
    tar_of(folder / "mini-imagenet.tar.gz", "mini-imagenet-cache-train.pkl", pickle.dumps(mini(), 2))
    with zipfile.ZipFile(folder / "OfficeHomeDataset_10072016.zip", "w") as archive:
        for domain in ("Art", "Real World"):
            for name in ("Bike", "Alarm_Clock"):
                for index in range(11):
                    member = f"OfficeHomeDataset_10072016/{domain}/{name}/{index:05d}.jpg"
                    archive.writestr(member, encode(noise(index, 20, 30), "JPEG"))
    (folder / "land-train").mkdir()
    for index in range(12):
        Image.fromarray(noise(index, 600, 520)).save(folder / f"land-train/{index}_sat.jpg")
        mask = np.zeros((600, 520, 3), np.uint8) + np.array([0, 255, 0], np.uint8)
        mask[:88, :8] = [0, 0, 255]  # only the first window of a tile holds all of this corner
        Image.fromarray(mask).save(folder / f"land-train/{index}_mask.png")
    for name in ("CIFAR100", "MINI_IMAGENET"):
        original = getattr(public, name)
        path = folder / original.names[0]
        digest = f"md5:{hashlib.md5(path.read_bytes()).hexdigest()}"
        monkeypatch.setattr(public, name, replace(original, digests={path.name: digest}))
    return folder


@pytest.fixture
def archive(originals, tmp_path):
    pack(public_entries(originals), tmp_path / "a.zip")
    return Archive(tmp_path / "a.zip")


@pytest.mark.parametrize(
    "count, share, taken",
    [
        *((4357, OFFICE_VALIDATION, 406), (803, TILE_VALIDATION, 92)),
        *((711 * 16, WINDOWS["train"], 2000), (92 * 16, WINDOWS["validation"], 257)),
    ],
)
def test_shares_give_the_courses_numbers_on_the_whole_originals(count, share, taken):
    assert sum(spread(count, share)) == taken


def test_p1_has_fifty_classes_and_the_last_tenth_of_each_to_validate_with_its_pixels(archive):
    assert len(archive.pictures("p1_data/train_50")) == 50 * 9
    table, found = cifar(), []
    for member in archive.pictures("p1_data/val_50"):
        label, index = map(int, member.split("/")[-1].removesuffix(".png").split("_"))
        pixels = np.asarray(archive.image(member))
        assert pixels[0, 0, 0] == label == table["fine_labels"][index]
        assert np.array_equal(pixels, table["data"][index].reshape(3, 32, 32).transpose(1, 2, 0))
        found.append(label)
    assert sorted(found) == list(range(50))


def labels(archive, table):
    return {row.filename: int(row.label) for row in archive.table(table).rows}


def test_mini_has_all_images_with_labels_in_the_order_of_the_class_names(archive):
    assert labels(archive, "p2_data/mini/train.csv") == {f"{index}.jpg": (index + 1) % 2 for index in range(6)}
    assert np.asarray(archive.image("p2_data/mini/train/3.jpg")).shape == (84, 84, 3)
    assert np.asarray(archive.image("p2_data/mini/train/3.jpg")).mean() == pytest.approx(30, abs=1)


def test_office_is_the_real_world_alone_each_image_once_byte_for_byte(archive):
    tables = {split: labels(archive, f"p2_data/office/{split}.csv") for split in ("train", "val")}
    assert (len(tables["train"]), len(tables["val"])) == (20, 2)
    assert sorted([*tables["train"].values(), *tables["val"].values()]) == [0] * 11 + [1] * 11
    contents = {archive.read(f"p2_data/office/{split}/{name}") for split in tables for name in tables[split]}
    assert contents == {encode(noise(index, 20, 30), "JPEG") for index in range(11)}


def test_p3_tiles_are_windows_whose_masks_fit_and_no_tile_is_in_two_splits(archive):
    train, validation = (
        [name for name in archive.pictures(f"p3_data/{split}") if name.endswith("_mask.png")]
        for split in ("train", "validation")
    )
    assert (len(train), len(validation)) == (30, 2)
    corners = [bool((archive.mask(member)[0, 0]) == 4) for member in train + validation]
    assert any(corners) and not all(corners)
    for member in validation:
        assert archive.mask(member).shape == (512, 512)
        assert archive.image_size(member.replace("mask.png", "sat.jpg")) == (512, 512)


def test_built_archive_can_be_prepared(archive, tmp_path):
    for part in PARTS:
        (tmp_path / part).mkdir()
        prepare(part, archive, SIZES, tmp_path / part)
    assert {Manifest.load(tmp_path / part).origin for part in PARTS} == {EQUIVALENT} == {"equivalent by construction"}
    assert Manifest.load(tmp_path / "mini").classes == 2
    assert load_array(tmp_path / "office", "validation_labels").tolist() == [0, 1]


def test_same_originals_give_the_same_bytes(archive, originals, tmp_path):
    pack(public_entries(originals), tmp_path / "b.zip")
    assert archive.path.read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_all_missing_originals_are_named_with_their_place_and_terms(originals):
    (originals / "mini-imagenet.tar.gz").unlink()
    (originals / "OfficeHomeDataset_10072016.zip").unlink()
    with pytest.raises(InputError, match="Office-Home \\(for research without profit") as error:
        list(public_entries(originals))
    assert "Mini-ImageNet (after accepting ImageNet's terms" in str(error.value)
    assert "put mini-imagenet.tar.gz or mini-imagenet-cache-train.pkl there" in str(error.value)
    assert "DeepGlobe" not in str(error.value)


def test_cifar_is_fetched_where_it_is_absent(originals, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    path = originals / "cifar-100-python.tar.gz"
    content = path.read_bytes()
    path.unlink()
    with serve() as site:
        monkeypatch.setattr(public, "CIFAR100", replace(public.CIFAR100, url=site.put("/c.tar.gz", content)))
        next(iter(public_entries(originals)))
    assert path.read_bytes() == content


def test_original_of_another_checksum_is_refused(originals):
    with open(originals / "mini-imagenet.tar.gz", "ab") as file:
        file.write(b"x")
    with pytest.raises(InputError, match=r"mini-imagenet\.tar\.gz: MD5 [0-9a-f]{32}, expected"):
        list(public_entries(originals))


def test_pickle_that_would_run_code_is_refused_and_does_not_run(tmp_path):
    class Hostile:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    with pytest.raises(InputError, match=r"it would run _?io\.open"):
        load_plain(io.BytesIO(pickle.dumps({"data": Hostile()})), "train")
    assert not (tmp_path / "ran").exists()


def test_pickle_of_python_2_gives_text_and_arrays_of_all_protocols_load():
    assert load_plain(io.BytesIO(b"\x80\x02}U\x04dataK\x01s."), "train") == {"data": 1}
    for protocol in (0, 2, 4):
        loaded = load_plain(io.BytesIO(pickle.dumps({"data": np.arange(6).reshape(2, 3)}, protocol)), "train")
        assert loaded["data"].tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize("content", [b"", b"\x80\x02}", pickle.dumps([1, 2])])
def test_other_pickles_are_refused(content):
    with pytest.raises(InputError, match=r"^train: "):
        load_plain(io.BytesIO(content), "train")

"""ImageNet's weights: fetched once and whole, or one error that says where to put them; an empty file else."""

import hashlib
import re
from types import SimpleNamespace

import pytest
import torch
from torchvision.models import get_weight

from hw1.engine.weights import load_tensors
from hw1.run.errors import InputError
from hw1.sources import imagenet
from hw1.sources.imagenet import fetch, write_start


@pytest.fixture
def published(tmp_path):
    """A weights entry whose file lies nowhere yet, the folder of torch's cache, the bytes it stands for."""
    torch.save({"weight": torch.ones(3)}, tmp_path / "source.pth")
    content = (tmp_path / "source.pth").read_bytes()
    digest = hashlib.sha256(content).hexdigest()[:8]
    return f"https://example.org/models/net-{digest}.pth", tmp_path / "hub/checkpoints", content


def test_imagenet_weights_are_downloaded_once_and_then_taken_from_the_cache(published, monkeypatch):
    entry, cache, content = published
    asked = []

    def download(url, path, most, digest):
        asked.append((url, digest))
        path.parent.mkdir(parents=True)
        path.write_bytes(content)

    monkeypatch.setattr(imagenet, "download", download)
    for _ in range(2):
        assert fetch(entry, cache).read_bytes() == content
    assert asked == [(entry, f"sha256:{hashlib.sha256(content).hexdigest()[:8]}")]


def test_damaged_file_or_one_that_cannot_be_had_is_named_with_what_to_do(published, monkeypatch):
    entry, cache, content = published

    def fail(*_):
        raise InputError(f"{entry}: no route to host")

    monkeypatch.setattr(imagenet, "download", fail)
    with pytest.raises(InputError, match=f"no route to host.*put the file into {cache} or set weights: mini or none"):
        fetch(entry, cache)
    cache.mkdir(parents=True)
    (cache / entry.rpartition("/")[2]).write_bytes(content[:-1])
    with pytest.raises(InputError, match=r"net-\w+\.pth: damaged, .*; delete it and run again"):
        fetch(entry, cache)


@pytest.mark.parametrize("published", imagenet.PUBLISHED.values())
def test_name_of_every_file_holds_digits_of_its_hash(published):
    entry = get_weight(published)
    assert re.fullmatch(r"https://.+-[0-9a-f]{8}\.pth", entry.url), entry.url
    assert entry.meta["_file_size"] * 1e6 < imagenet.MAX_BYTES


def test_start_has_the_published_state_dict_or_no_tensors(published, tmp_path, monkeypatch):
    url, cache, content = published
    cache.mkdir(parents=True)
    (cache / url.rpartition("/")[2]).write_bytes(content)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(cache.parent))
    monkeypatch.setattr("torchvision.models.get_weight", lambda name: SimpleNamespace(url=url))
    write_start("convnext_base", "imagenet", tmp_path / "a.safetensors")
    tensors = load_tensors(tmp_path / "a.safetensors")
    assert list(tensors) == ["weight"] and torch.equal(tensors["weight"], torch.ones(3))
    write_start("convnext_base", "none", tmp_path / "b.safetensors")
    assert load_tensors(tmp_path / "b.safetensors") == {}

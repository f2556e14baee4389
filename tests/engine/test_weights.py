"""Weights on disk: what is kept, and every file that is refused."""

import copy

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from hw1.engine.weights import load_weights, picture_epochs, read_metadata, save_weights, snapshot_file
from hw1.run.errors import InputError


def network(width=4):
    return nn.Sequential(nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.Flatten(), nn.Linear(width, 2))


@pytest.fixture
def path(tmp_path):
    """The saved weights of a network whose statistics have moved."""
    saved = network()
    saved(torch.randn(4, 3, 3, 3))
    save_weights(saved, tmp_path / "weights.safetensors", {})
    return tmp_path / "weights.safetensors"


def differing(first, second):
    ours, theirs = first.state_dict(), second.state_dict()
    return [name for name in ours if not torch.equal(ours[name], theirs[name])]


def test_metadata_and_every_parameter_and_buffer_come_back_bit_for_bit(tmp_path):
    saved, loaded = network().to(memory_format=torch.channels_last), network()
    saved(torch.randn(4, 3, 3, 3))
    assert "1.running_mean" in differing(saved, loaded)
    metadata = {"stage": "classify@A", "epoch": 3, "parameters": {"lr": 3e-4, "sizes": [1, 2]}}
    save_weights(saved, tmp_path / "w.safetensors", metadata)
    load_weights(loaded, tmp_path / "w.safetensors")
    assert differing(saved, loaded) == []
    assert read_metadata(tmp_path / "w.safetensors") == metadata


@pytest.mark.parametrize("text", ["{", "[]", "3", "[" * 100_000])
def test_damaged_metadata_is_named(text, tmp_path):
    save_file({"weight": torch.ones(1)}, tmp_path / "w.safetensors", {"hw1": text})
    with pytest.raises(InputError, match=r"w\.safetensors: its metadata is damaged"):
        read_metadata(tmp_path / "w.safetensors")


def test_assigned_weights_make_a_network_of_the_meta_device_whole(path):
    with torch.device("meta"):
        loaded = network()
    loaded[0].weight.requires_grad_(False)
    load_weights(loaded, path, assign=True)
    assert loaded(torch.randn(4, 3, 3, 3)).shape == (4, 2)
    trained = [name for name, parameter in loaded.named_parameters() if parameter.requires_grad]
    assert trained == ["0.bias", "1.weight", "1.bias", "3.weight", "3.bias"]


def test_assigned_weights_of_another_type_are_refused(path):
    with pytest.raises(InputError, match="of another shape or type"):
        load_weights(network().double(), path, assign=True)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.safetensors: no such weights; run `dvc repro`"):
        load_weights(network(), tmp_path / "none.safetensors")


@pytest.mark.parametrize("length", [0, 5, 60, -1])
def test_cut_file_is_named(path, length):
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(InputError, match=r"weights\.safetensors: not a whole safetensors file"):
        load_weights(network(), path)


WITHOUT_BIAS = [nn.Conv2d(3, 4, 3, bias=False), *network()[1:]]
OTHERS = {
    "2 keys missing, 0 unexpected, 0 of another shape or type, such as 4.bias": [*network(), nn.Linear(2, 2)],
    "0 keys missing, 1 unexpected, 0 of another shape or type, such as 0.bias": WITHOUT_BIAS,
    # Convolution and Linear with their weights, BatchNorm with four: 2 + 4 + 1.
    "0 keys missing, 0 unexpected, 7 of another shape or type, such as 0.bias": network(5),
}


@pytest.mark.parametrize("counts", OTHERS)
def test_weights_of_another_network_are_refused_with_the_path(path, counts):
    other = nn.Sequential(*OTHERS[counts])
    before = copy.deepcopy(other)
    with pytest.raises(InputError) as caught:
        load_weights(other, path)
    assert str(caught.value) == f"{path}: weights of another network ({counts})"
    assert differing(other, before) == []


# -- snapshots


@pytest.mark.parametrize(
    "epochs, expected",
    [(1, [1]), (2, [1, 2]), (3, [1, 3]), (80, [1, 40, 80]), (100, [1, 50, 100])],
)
def test_picture_epochs_are_first_middle_last(epochs, expected):
    assert picture_epochs(epochs) == expected


def test_last_snapshot_is_the_final_file(tmp_path):
    names = [snapshot_file(tmp_path, epoch, 5).stem for epoch in picture_epochs(5)]
    assert names == ["epoch_1", "epoch_2", "weights"]


def test_equal_weights_are_equal_bytes(tmp_path):
    module = network()
    written = set()
    for _ in range(8):
        save_weights(module, tmp_path / "w.safetensors", {"a": 1, "b": 2, "c": 3, "d": 4})
        written.add((tmp_path / "w.safetensors").read_bytes())
    assert len(written) == 1

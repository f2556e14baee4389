"""Weights that people bring: every wrapping is taken off and told, everything else is refused in one line."""

import functools
import os

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision import models

from hw1.byol.given import load_given
from hw1.run.errors import InputError

WANTED, DROP = "ResNet18", ("fc.",)


def resnet(seed=0, depth=18, **options):
    torch.manual_seed(seed)
    return getattr(models, f"resnet{depth}")(num_classes=9, **options)


SAVED = resnet().state_dict()


@pytest.fixture
def loaded(tmp_path):
    """A function of what a file holds: the network filled from it, without its classifier, and what was told."""

    def loaded(content, save=torch.save):
        save(content, tmp_path / "sl.pt")
        network = resnet(1)
        network.fc = nn.Identity()
        return network, load_given(network, tmp_path / "sl.pt", WANTED, DROP)

    return loaded


def assert_filled(network):
    assert all(torch.equal(tensor, SAVED[name]) for name, tensor in network.state_dict().items())


def prefixed(prefix, tensors=SAVED):
    return {f"{prefix}{name}": tensor for name, tensor in tensors.items()}


@pytest.mark.parametrize(
    "content, prefix",
    [
        (SAVED, ""),
        (prefixed("module."), "module."),
        (prefixed("_orig_mod.module."), "_orig_mod.module."),
        ({"state_dict": SAVED, "epoch": 3}, "state_dict."),
        ({"epoch": 3, "model": prefixed("backbone."), "lr": 0.1}, "model.backbone."),
        ({"net": {"encoder": SAVED}}, "net.encoder."),
    ],
)
def test_state_dict_fills_the_network_without_its_classifier_and_a_wrapping_is_told(content, prefix, loaded):
    network, notes = loaded(content)
    assert_filled(network)
    assert notes == [f"the prefix '{prefix}' of its names was taken off"] * bool(prefix)


def test_what_lies_beside_the_network_is_left_out_and_named(loaded):
    optimiser = {"state": {0: {"exp_avg": torch.ones(3)}}, "param_groups": [{"lr": 0.1}]}
    head = {"projector.0.weight": torch.ones(2, 2), "projector.0.bias": torch.ones(2)}
    network, notes = loaded({"model": {**SAVED, **head}, "optimizer": optimiser})
    assert_filled(network)
    names = "model.projector.0.weight, model.projector.0.bias, optimizer.state.0.exp_avg"
    assert notes[1] == f"left out 3 tensors: {names}"


def test_counters_of_batches_may_be_absent(loaded):
    without = {name: tensor for name, tensor in SAVED.items() if "num_batches_tracked" not in name}
    network, notes = loaded(without)
    assert notes == [] and torch.equal(network.layer4[1].bn2.running_var, SAVED["layer4.1.bn2.running_var"])


def test_half_precision_is_read_and_safetensors_too(loaded):
    half = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in SAVED.items()}
    network, _ = loaded(half)
    assert network.conv1.weight.dtype == torch.float32
    assert torch.equal(network.conv1.weight, half["conv1.weight"].float())
    assert_filled(loaded(dict(SAVED), save_file)[0])


def test_second_network_with_equal_weights_is_left_out(loaded):
    network, notes = loaded({**prefixed("online."), **prefixed("target.")})
    assert_filled(network)
    assert notes[0] == "the prefix 'online.' of its names was taken off" and "target.conv1.weight" in notes[1]


OTHER = resnet(2).state_dict()
SMALL_STEM = {**SAVED, "conv1.weight": torch.ones(64, 3, 3, 3)}
BROKEN = {**SAVED, "layer1.0.conv1.weight": torch.full((64, 64, 3, 3), float("nan"))}
WHOLE = {**SAVED, "bn1.weight": torch.ones(64, dtype=torch.int8)}


@pytest.mark.parametrize(
    "content, reason",
    [
        (resnet(depth=34).state_dict(), "no weights of ResNet18, which has no 80 tensors: layer1.2.conv1.weight,"),
        (prefixed("module.", resnet(depth=50).state_dict()), "no weights of ResNet18, without "),
        (SMALL_STEM, "no weights of ResNet18, without 1 tensor: conv1.weight, or in other shapes"),
        ({"a.weight": torch.ones(3)}, "no weights of ResNet18, without 100 tensors: conv1.weight, bn1.weight, "),
        (
            {**prefixed("online.", SAVED), **prefixed("target.", OTHER)},
            "holds 2 networks like ResNet18 ('online.', 'target.'); save one's state dict alone",
        ),
        (BROKEN, "layer1.0.conv1.weight holds numbers that are not finite"),
        (WHOLE, "bn1.weight holds torch.int8, not floating-point numbers"),
    ],
    ids=["34", "50", "stem", "other", "two", "nan", "int8"],
)
def test_other_weights_are_refused_by_what_they_lack_or_have_more(content, reason, loaded, tmp_path):
    with pytest.raises(InputError) as caught:
        loaded(content)
    assert str(caught.value).startswith(f"{tmp_path}/sl.pt: {reason}") and str(caught.value).isprintable()


class Malicious:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_pickle_that_would_run_code_is_refused_and_does_not_run_it(loaded, tmp_path):
    with pytest.raises(InputError, match=r"sl\.pt: not a whole file of plain tensors"):
        loaded({"weight": Malicious(tmp_path / "harm")})
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("length", [0, 30, 1000, -1])
@pytest.mark.parametrize("as_zip", [True, False])
def test_cut_state_dict_is_named(tmp_path, as_zip, length):
    path = tmp_path / "sl.pt"
    torch.save({"weight": torch.ones(999)}, path, _use_new_zipfile_serialization=as_zip)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(InputError, match=r"sl\.pt: not a whole file of plain tensors"):
        load_given(resnet(), path, WANTED, DROP)


DEEP = functools.reduce(lambda content, _: {"more": content}, range(50), {"weight": torch.ones(1)})


@pytest.mark.parametrize("content", [torch.ones(3), {"epoch": 3}, [torch.ones(3)], DEEP])
def test_file_that_holds_no_state_dict_is_named(loaded, content):
    with pytest.raises(InputError, match=r"sl\.pt: not a state dict of tensors"):
        loaded(content)

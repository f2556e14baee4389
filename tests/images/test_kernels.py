"""Layers, products and roots that every CPU computes alike, beside torch's own."""

import copy
import operator
import re

import pytest
import torch
from closure import ROOT
from torch import nn

from hw1.images import kernels
from hw1.images.kernels import by_onednn, product, square_root


def gradients(layer: nn.Module, inputs: torch.Tensor) -> list[torch.Tensor]:
    """Output, and gradients of a sum of squares by input and parameters."""
    inputs = inputs.clone().requires_grad_()
    output = layer(inputs)
    output.square().sum().backward()
    return [output.detach(), inputs.grad, *(parameter.grad for parameter in layer.parameters())]


LAYERS = {
    "linear": (nn.Linear(12, 5), (7, 12)),
    "linear without a bias": (nn.Linear(12, 5, bias=False), (7, 12)),
    "linear over the last of four dimensions": (nn.Linear(12, 5), (2, 3, 4, 12)),
    "1x1 of few images": (nn.Conv2d(6, 9, 1), (3, 6, 4, 5)),
    "1x1 of many images": (nn.Conv2d(6, 9, 1, bias=False), (17, 6, 4, 5)),
    "7x7, padded": (nn.Conv2d(4, 9, 7, padding=3), (2, 4, 5, 3)),
    "7x7, not padded": (nn.Conv2d(4, 9, 7), (2, 4, 8, 9)),
    "3x3 of single pixels": (nn.Conv2d(4, 9, 3, padding=1, bias=False), (5, 4, 1, 1)),
    "3x3 to single pixels by its stride": (nn.Conv2d(4, 9, 3, stride=2, padding=1), (5, 4, 2, 2)),
    "3x3 to single pixels of a strip": (nn.Conv2d(4, 9, 3, stride=2, padding=1), (5, 4, 1, 2)),
    "2x2 that leaves a border out": (nn.Conv2d(4, 9, 2, stride=2), (5, 4, 3, 3)),
    "1x1 of stride 2": (nn.Conv2d(4, 9, 1, stride=2), (5, 4, 2, 2)),
    "3x3": (nn.Conv2d(4, 9, 3, padding=1), (5, 4, 6, 5)),
    "3x3 of another stride": (nn.Conv2d(4, 9, 3, stride=2, padding=1), (17, 4, 6, 5)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layer_and_its_gradients_are_torchs(name):
    layer, shape = LAYERS[name]
    ours = by_onednn(copy.deepcopy(layer))
    assert type(ours) is not type(layer) and type(ours).__name__ == type(layer).__name__  # drawings show the name
    inputs = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    if len(shape) == 4 and isinstance(layer, nn.Conv2d):
        inputs = inputs.to(memory_format=torch.channels_last)
    for computed, expected in zip(gradients(ours, inputs), gradients(copy.deepcopy(layer), inputs), strict=True):
        assert computed.shape == expected.shape
        assert torch.allclose(computed, expected, rtol=1e-4, atol=1e-4 * expected.abs().max())


@pytest.mark.parametrize(
    "convolution",
    [
        nn.Conv2d(4, 4, 7, padding=3, groups=4),
        nn.Conv2d(4, 4, 3, padding=2, dilation=2),
        nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"),
    ],
    ids=str,
)
def test_other_convolutions_stay_torchs(convolution):
    assert type(by_onednn(convolution)) is nn.Conv2d


def test_copy_of_a_network_keeps_its_layers_and_computes_by_its_own_weights():
    network = by_onednn(nn.Sequential(nn.Linear(3, 2, bias=False)))
    twin = copy.deepcopy(network)
    with torch.no_grad():
        twin[0].weight.zero_()
    assert type(twin[0]) is kernels.Linear
    assert not twin(torch.ones(1, 3)).any() and network(torch.ones(1, 3)).any()


def test_layer_without_images_gives_none():
    assert by_onednn(nn.Conv2d(3, 4, 1))(torch.empty(0, 3, 5, 5)).shape == (0, 4, 5, 5)
    assert by_onednn(nn.Linear(3, 4))(torch.empty(0, 3)).shape == (0, 4)


def test_frozen_layer_gets_no_gradient_and_its_input_does():
    layer = by_onednn(nn.Linear(3, 2)).requires_grad_(False)
    inputs = torch.ones(1, 3, requires_grad=True)
    layer(inputs).sum().backward()
    assert layer.weight.grad is None and torch.allclose(inputs.grad, layer.weight.sum(0, keepdim=True))


def test_product_is_that_with_the_transpose():
    assert torch.equal(product(torch.eye(3), torch.tensor([[1.0, 2.0, 3.0]])), torch.tensor([[1.0], [2.0], [3.0]]))


PACKAGES = ("images", "engine", "classify", "byol", "segment", "evaluate")
SOURCES = {path: path.read_text() for package in PACKAGES for path in (ROOT / "hw1" / package).glob("*.py")}
PRIVATE = {  # name: its one home
    "torch._foreach_add": "byol/byol.py",
    "torch._foreach_add_": "byol/byol.py",
    "torch._foreach_lerp_": "byol/byol.py",
    "torch._foreach_mul_": "byol/byol.py",
    "torch._foreach_pow": "byol/byol.py",
    "torch._foreach_sub_": "byol/byol.py",
    "torch.cpu._is_amx_tile_supported": "images/machine.py",
    "torch.cpu._is_avx512_bf16_supported": "images/machine.py",
    "torch.ops.mkldnn._linear_pointwise": "images/kernels.py",
}


def test_private_names_of_libraries_are_these_and_are_where_they_were():
    pattern = re.compile(r"\b(?:torch|torchvision|nn|np|numpy)(?:\.\w+)*\._(?!_)\w+")
    names = [(name, path) for path, source in SOURCES.items() for name in pattern.findall(source)]
    used = {name: f"{path.parent.name}/{path.name}" for name, path in names}
    assert used == PRIVATE
    assert f"torch.ops.mkldnn.{kernels.OPERATOR}" in PRIVATE
    for name in PRIVATE:
        operator.attrgetter(name.removeprefix("torch."))(torch)


def test_torch_without_the_operator_multiplies_by_itself_and_says_what_it_costs(monkeypatch, capsys):
    monkeypatch.setattr(kernels, "OPERATOR", "no_such_operator")
    layer = nn.Linear(3, 2)
    assert type(by_onednn(layer)) is nn.Linear
    assert torch.equal(product(torch.ones(1, 3), layer.weight, layer.bias), layer(torch.ones(1, 3)))
    assert "two to four times as long" in capsys.readouterr().err


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_square_root_is_right_to_the_last_bit_but_one(dtype):
    values = torch.tensor([0.0, 1e-30, 0.25, 2.0, 9.0, 1e30], dtype=dtype)
    expected = torch.tensor([value**0.5 for value in values.tolist()], dtype=dtype)
    assert torch.allclose(square_root(values), expected, rtol=2 * torch.finfo(dtype).eps, atol=0)
    assert square_root(torch.full((3,), 9.0, dtype=dtype)).tolist() == [3.0, 3.0, 3.0]


def test_no_package_that_computes_takes_a_root_that_differs_between_cpus():
    """Nor another function of MKL's VML that was seen to (docs/numerics.md)."""
    calls = re.compile(r"(?<!math)(?<!np)\.sqrt_?\(|\*\* ?0\.5|(log10|atan|asin|acos)_?\(")
    found = [
        f"{path.name}: {line.strip()}"
        for path, source in SOURCES.items()
        for line in source.splitlines()
        if calls.search(line)
    ]
    assert found == ['pretraining.py: spread = row["projection_std"] * training.projection**0.5']  # a plain number

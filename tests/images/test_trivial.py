"""TrivialAugmentWide against torchvision's, operation by operation and bin by bin."""

import pytest
import torch
from drawn import assert_share, noise, seeded
from torchvision.transforms import InterpolationMode, TrivialAugmentWide
from torchvision.transforms.autoaugment import _apply_op

from hw1.images import augment as module

SPACE = TrivialAugmentWide()._augmentation_space(31)  # {name: (magnitudes, signed)}


@pytest.mark.parametrize("name", SPACE)
def test_trivial_magnitudes_are_torchvisions(name):
    magnitudes, signed = SPACE[name]
    ours = module.MAGNITUDES[module.OP_NAMES.index(name)].float()
    ours = ours.round() if name == "Posterize" else ours
    assert torch.equal(ours, magnitudes.float().expand(31))
    assert module.TRIVIAL_OPS[name][2] == signed


@pytest.mark.parametrize("shape", [(32, 32), (33, 40)])
@pytest.mark.parametrize("name", SPACE)
def test_trivial_operation_equals_torchvision_at_all_bins_and_signs(name, shape):
    image = noise(3, *shape)
    bins = module.MAGNITUDES[module.OP_NAMES.index(name)]
    magnitudes = torch.cat([bins, -bins]) if SPACE[name][1] else bins
    references = torch.cat([SPACE[name][0].expand(31), -SPACE[name][0].expand(31)])[: len(magnitudes)].tolist()
    expected = torch.stack([_apply_op(image, name, value, InterpolationMode.NEAREST, None) for value in references])
    ops = torch.full((len(magnitudes),), module.OP_NAMES.index(name))
    result = module.apply_trivial(image.expand(len(magnitudes), -1, -1, -1), ops, magnitudes)
    # A source exactly between two pixels may fall to either: at 90 degrees about the middle of 33 x 40.
    allowed = 0.005 if name == "Rotate" else 5e-4 if name in module.GEOMETRIC_OPS else 0
    assert (result != expected).double().mean() <= allowed


def test_trivial_draws_every_operation_equally_often():
    ops, _ = module.draw_trivial(14000, seeded())
    for number in range(14):
        assert_share(ops == number, 1 / 14)


def test_trivial_draws_every_bin_equally_often():
    ops, magnitudes = module.draw_trivial(28000, seeded())
    bins = module.MAGNITUDES[module.OP_NAMES.index("Rotate")]
    drawn = magnitudes[ops == module.OP_NAMES.index("Rotate")].abs()
    for value in bins:
        assert_share(drawn == value, 1 / 31)


@pytest.mark.parametrize("name", [name for name, (_, signed) in SPACE.items() if signed])
def test_trivial_negates_half_of_a_signed_operations_magnitudes(name):
    ops, magnitudes = module.draw_trivial(14000, seeded())
    drawn = magnitudes[ops == module.OP_NAMES.index(name)]
    assert_share(drawn[drawn != 0] < 0, 0.5)


@pytest.mark.parametrize("name", ["Posterize", "Solarize"])
def test_trivial_never_negates_an_unsigned_magnitude(name):
    ops, magnitudes = module.draw_trivial(14000, seeded())
    assert magnitudes[ops == module.OP_NAMES.index(name)].min() >= 0


def test_trivial_applies_each_images_own_operation():
    images = noise(1, 3, 32, 32).expand(14, 3, 32, 32)
    result = module.apply_trivial(images, torch.arange(14), module.MAGNITUDES[:, 20])
    # Of 14 results only equalising uniform noise and stretching its full range may come near the identity.
    assert len(result.unique(dim=0)) >= 13

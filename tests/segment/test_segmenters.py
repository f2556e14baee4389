"""The segmentation networks: sizes, upsampling, and the layouts they share with torchvision."""

import pytest
import torch
from torch import nn
from torchvision.models import vgg16
from torchvision.models.segmentation import deeplabv3_resnet50
from torchvision.models.vgg import make_layers
from trainings import segmenter

from hw1.segment.segmenters import VGG16, DeepLabV3, Fcn32s, build_segmenter, transposed_convolution


def build(network, width, *start):
    return build_segmenter(segmenter(network=network, width=width), 7, *start)


NETWORKS = ("fcn32s_vgg16", "deeplabv3_resnet50")


@pytest.fixture(autouse=True)
def seed_and_thread():
    torch.manual_seed(0)
    torch.set_num_threads(1)  # on a busy machine several wait for each other at every small step


@pytest.mark.parametrize("size", [(32, 32), (33, 50), (64, 47), (360, 360)], ids=str)
@pytest.mark.parametrize("network", NETWORKS)
def test_logits_have_the_size_of_the_image(network, size):
    network = build(network, 0.0625).eval()
    with torch.no_grad():
        logits = network(torch.rand(1, 3, *size))
    assert logits.shape == (1, 7, *size)
    assert logits.isfinite().all()


@pytest.mark.parametrize("network", NETWORKS)
def test_every_parameter_gets_a_gradient(network):
    network = build(network, 0.25).train()
    logits = network(torch.randn(2, 3, 64, 64))
    nn.functional.cross_entropy(logits, torch.randint(0, 7, (2, 64, 64))).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.any(), name


# -- FCN-32s


def test_fresh_upsampling_equals_interpolate_inside():
    scores = torch.randn(2, 7, 4, 5)
    ours = Fcn32s(7, 0.0625).upsample(scores)[..., 32:-32, 32:-32]
    reference = nn.functional.interpolate(scores, scale_factor=32, mode="bilinear", align_corners=False)
    assert torch.allclose(ours, reference[..., 16:-16, 16:-16], atol=1e-5)


def test_image_is_padded_below_and_to_the_right():
    network = Fcn32s(7, 0.0625).eval()
    images = torch.rand(1, 3, 33, 50)
    padded = torch.zeros(1, 3, 64, 64)
    padded[..., :33, :50] = images
    with torch.no_grad():
        assert torch.allclose(network(images), network(padded)[..., :33, :50], atol=1e-6)


def test_scores_are_laid_over_the_image_they_were_made_from():
    network = Fcn32s(1, 0.0625).eval()
    cells = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]])
    network.score.register_forward_hook(lambda module, inputs, output: cells.expand_as(output))
    with torch.no_grad():
        logits = network(torch.rand(1, 3, 96, 96))
    # Between the middles of the cells, at 15.5, 47.5 and 79.5, the map is linear.
    assert torch.allclose(logits[0, 0, 16, 16:80], 1 + (torch.arange(64) + 0.5) / 32 + 3 * 0.5 / 32, atol=1e-5)
    assert logits[0, 0, 47:49, 47:49].mean().item() == pytest.approx(5, abs=1e-5)


class SmallVgg16(nn.Module):
    """torchvision's VGG16 at an eighth of its width: the same names, classifier and pooling."""

    def __init__(self):
        super().__init__()
        self.features = make_layers([size if size == "M" else size // 8 for size in VGG16])
        layers = nn.Linear(64 * 7 * 7, 512), nn.ReLU(), nn.Dropout(), nn.Linear(512, 512), nn.ReLU(), nn.Dropout()
        self.classifier = nn.Sequential(*layers, nn.Linear(512, 1000))

    def forward(self, images):
        return self.classifier[:4](self.features(images).flatten(1))


def test_loaded_vgg16_gives_its_second_fully_connected_layer_at_the_centre():
    reference, network = SmallVgg16().eval(), Fcn32s(7, 0.125).eval()
    network.load_vgg16(reference.state_dict())
    images = torch.randn(2, 3, 224, 224)  # 7x7 cells: VGG16's whole classifier lies under the one in the middle
    with torch.no_grad():
        ours = network.fc7(torch.relu(network.fc6(network.features(images))))
        assert ours.shape == (2, 512, 7, 7)
        assert torch.allclose(ours[..., 3, 3], reference(images), atol=1e-5)


def test_full_width_takes_torchvisions_vgg16():
    with torch.device("meta"):
        network, reference = Fcn32s(7), vgg16().state_dict()
    network.load_vgg16(reference)
    own = {"score.weight", "score.bias", "upsample.weight"}
    ours = sum(tensor.numel() for name, tensor in network.state_dict().items() if name not in own)
    last = sum(tensor.numel() for name, tensor in reference.items() if name.startswith("classifier.6."))
    assert ours == sum(tensor.numel() for tensor in reference.values()) - last


# -- DeepLabv3


def test_deeplab_of_width_one_computes_as_torchvisions():
    reference = deeplabv3_resnet50(weights=None, weights_backbone=None, num_classes=7, aux_loss=False).eval()
    ours = build("deeplabv3_resnet50", 1.0).eval()
    assert isinstance(ours, DeepLabV3)
    ours.network.load_state_dict(reference.state_dict())
    images = torch.randn(1, 3, 33, 50)
    with torch.no_grad():
        assert torch.equal(ours(images), reference(images)["out"])


def test_deeplab_of_coco_keeps_all_but_the_last_layers():
    """The head has 21 classes there, and a second head in training."""
    coco = deeplabv3_resnet50(weights=None, weights_backbone=None, num_classes=21, aux_loss=True).state_dict()
    ours = build("deeplabv3_resnet50", 1.0, coco).state_dict()
    kept = {f"network.{name}": tensor for name, tensor in coco.items()}
    same = {name for name, tensor in ours.items() if name in kept and torch.equal(tensor, kept[name])}
    assert ours.keys() - same == {"network.classifier.4.weight", "network.classifier.4.bias"}


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (1, 3, 1, 1)])
def test_upsampling_is_torchs_transposed_convolution(shape):
    reference = nn.ConvTranspose2d(3, 5, 8, stride=4, bias=False)
    scores, towards = torch.randn(shape, requires_grad=True), torch.randn(shape[0], 5, *(4 * n + 4 for n in shape[2:]))
    expected = torch.autograd.grad(reference(scores), (scores, reference.weight), towards)
    ours = transposed_convolution(scores, reference.weight)
    assert torch.allclose(ours, reference(scores), atol=1e-5)
    for gradient, other in zip(torch.autograd.grad(ours, (scores, reference.weight), towards), expected, strict=True):
        assert torch.allclose(gradient, other, atol=1e-4)


def test_fcn32s_scores_in_float32_under_autocast():
    # torch 2.15's bf16 convolution of 4096 channels to few corrupts memory on CPUs with AMX.
    network = Fcn32s(7, width=0.0625)
    seen = []
    network.score.register_forward_hook(lambda module, inputs, output: seen.append((inputs[0].dtype, output.dtype)))
    with torch.autocast("cpu", torch.bfloat16):
        network(torch.zeros(1, 3, 32, 32))
    assert seen == [(torch.float32, torch.float32)]

"""Segmentation networks of problem 3: images (N, 3, H, W) -> logits (N, 7, H, W), any H and W from 32 up."""

from collections import OrderedDict
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torchvision.models import resnet, vgg
from torchvision.models.segmentation import deeplabv3

from hw1.engine.weights import NOTHING, Tensors, part_of
from hw1.run.parameters.params import Segmenter
from hw1.run.processes.ranks import world

VGG16 = (64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M")
STRIDE = 32  # pixels of the image to one cell of VGG16's last feature map


class Fcn32s(nn.Module):
    """FCN-32s (Long et al. 2015, arXiv:1411.4038) on VGG16: fc6 and fc7 as convolutions, one 32x upsampling.

    ``width`` scales every channel count. fc6 is padded to keep its input's size, and the image is padded
    to a multiple of 32, where the paper pads the first layer by 100: no size loses its border.
    """

    def __init__(self, classes: int, width: float = 1.0):
        super().__init__()
        layers = [size if size == "M" else round(size * width) for size in VGG16]
        hidden = round(4096 * width)
        self.features = vgg.make_layers(layers)
        self.fc6 = nn.Conv2d(layers[-2], hidden, 7, padding=3)
        self.fc7 = nn.Conv2d(hidden, hidden, 1)
        self.dropout = nn.Dropout(0.5)  # VGG16's own
        self.score = nn.Conv2d(hidden, classes, 1)
        self.upsample = nn.ConvTranspose2d(classes, classes, 2 * STRIDE, stride=STRIDE, bias=False)
        self._initialise()

    def _initialise(self) -> None:
        for module in (*self.features, self.fc6, self.fc7, self.score):
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)
        with torch.no_grad():
            self.upsample.weight.copy_(bilinear_kernel(self.upsample.out_channels, 2 * STRIDE))

    def load_vgg16(self, tensors: Tensors) -> None:
        """Take a torchvision VGG16's weights: its two fully connected layers become fc6 and fc7."""
        self.features.load_state_dict(part_of(tensors, "features"))
        for layer, number in self._connected().items():
            part = part_of(tensors, f"classifier.{number}")
            layer.load_state_dict({"weight": part["weight"].view_as(layer.weight), "bias": part["bias"]})

    def vgg16(self) -> Tensors:
        """The tensors that :meth:`load_vgg16` takes."""
        tensors = {f"features.{name}": tensor for name, tensor in self.features.state_dict().items()}
        for layer, number in self._connected().items():
            tensors |= {f"classifier.{number}.weight": layer.weight.flatten(1), f"classifier.{number}.bias": layer.bias}
        return tensors

    def _connected(self) -> dict[nn.Conv2d, int]:
        """VGG16's fully connected layers, and the numbers they have in torchvision's."""
        return {self.fc6: 0, self.fc7: 3}

    def scores(self, images: Tensor) -> Tensor:
        """(N, 3, h, w) -> (N, K, h / 32, w / 32) float32 scores of each cell, h and w rounded up to multiples of 32."""
        height, width = images.shape[-2:]
        padding = (0, -width % STRIDE, 0, -height % STRIDE)
        x = self.features(nn.functional.pad(images, padding))  # (N, 512, h/32, w/32)
        x = self.dropout(torch.relu(self.fc6(x)))
        x = self.dropout(torch.relu(self.fc7(x)))
        # Seven channels cost nothing in float32, and torch 2.15's bf16 convolution of 4096 channels to few,
        # with a bias, writes beyond its memory on CPUs with AMX.
        with torch.autocast(x.device.type, enabled=False):
            return self.score(x.float())

    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        scores = self.scores(images)
        with torch.autocast(scores.device.type, enabled=False):
            x = transposed_convolution(scores, self.upsample.weight)  # (N, 7, h + 32, w + 32): half a stride a side
        edge = STRIDE // 2
        return x[..., edge : edge + height, edge : edge + width]


def transposed_convolution(scores: Tensor, weight: Tensor) -> Tensor:
    """Transposed convolution of (N, K, h, w) by ``weight`` (K, L, 2 s, 2 s) with stride s.

    Returns (N, L, s (h + 1), s (w + 1)). Each s x s block of it depends on the four cells that meet at
    its corner, so it is a 2 x 2 convolution to s * s channels per class, laid out as pixels: many times
    as fast as torch's own on a CPU.
    """
    inputs, outputs, side, _ = weight.shape
    stride = side // 2
    halves = weight.unflatten(3, (2, stride)).unflatten(2, (2, stride))  # (K, L, half, row, half, column)
    taps = halves.flip(2, 4).permute(1, 3, 5, 0, 2, 4).reshape(outputs * stride**2, inputs, 2, 2)
    blocks = nn.functional.conv2d(scores, taps, padding=1)
    if world() > 1 and not len(blocks):  # a rank without images: pixel_shuffle has no gradient for none
        return blocks.reshape(0, outputs, *(stride * length for length in blocks.shape[2:]))
    return nn.functional.pixel_shuffle(blocks, stride)


def bilinear_kernel(channels: int, size: int) -> Tensor:
    """Transposed-convolution weights (channels, channels, size, size) that upsample each channel bilinearly."""
    centre = (size - 1) / 2
    line = 1 - (torch.arange(size) - centre).abs() / (size / 2)
    kernel = torch.zeros(channels, channels, size, size)
    kernel[range(channels), range(channels)] = torch.outer(line, line)
    return kernel


class Trunk(nn.Sequential):
    """Layers in a row whose result is called ``out``, as torchvision's segmenters want their backbone's."""

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return {"out": super().forward(images)}


class DeepLabV3(nn.Module):
    """DeepLabv3 (Chen et al. 2017, arXiv:1706.05587): torchvision's head on a ResNet of output stride 8."""

    def __init__(self, backbone: resnet.ResNet, classes: int):
        super().__init__()
        head = deeplabv3.DeepLabHead(backbone.fc.in_features, classes)
        layers = {name: layer for name, layer in backbone.named_children() if name not in ("avgpool", "fc")}
        self.network = deeplabv3.DeepLabV3(Trunk(OrderedDict(layers)), head)

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images)["out"]


def build_fcn32s(params: Segmenter, classes: int, start: Tensors) -> Fcn32s:
    network = Fcn32s(classes, params.width)
    if start:
        network.load_vgg16(start)
    return network


class PooledFcn32s(nn.Module):
    """An FCN-32s as a classifier of whole images: the mean of its cells' scores, (N, 3, h, w) -> (N, K)."""

    def __init__(self, network: Fcn32s):
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network.scores(images).mean((2, 3))


def fcn32s_of_mini(params: Segmenter, classes: int) -> tuple[nn.Module, Callable[[], Tensors]]:
    network = Fcn32s(classes, params.width)
    return PooledFcn32s(network), network.vgg16


def build_deeplabv3(params: Segmenter, classes: int, start: Tensors) -> DeepLabV3:
    """``start`` is a ResNet's state dict, or a DeepLabv3's, of which all is taken but the last layer of each head."""
    backbone = _dilated_resnet(params.width)
    of_deeplab = any(name.startswith("backbone.") for name in start)
    if start and not of_deeplab:  # but for the last layer, which DeepLabv3 has not
        backbone.load_state_dict({**start, "fc.weight": backbone.fc.weight, "fc.bias": backbone.fc.bias})
    network = DeepLabV3(backbone, classes)
    if of_deeplab:
        state = network.network.state_dict()
        last = {name: state[name] for name in ("classifier.4.weight", "classifier.4.bias")}
        taken = {name: tensor for name, tensor in start.items() if not name.startswith("aux_classifier.")}
        network.network.load_state_dict(taken | last)
    return network


def deeplabv3_of_mini(params: Segmenter, classes: int) -> tuple[nn.Module, Callable[[], Tensors]]:
    network = _dilated_resnet(params.width)
    network.fc = nn.Linear(network.fc.in_features, classes)
    return network, lambda: {key: tensor for key, tensor in network.state_dict().items() if not key.startswith("fc.")}


def _dilated_resnet(width: float) -> resnet.ResNet:
    """``width`` scales each stage's number of blocks and its channels; 1 is ResNet50."""
    block = type("Bottleneck", (resnet.Bottleneck,), {"expansion": max(1, round(4 * width))})
    return resnet.ResNet(
        block,
        [max(1, round(blocks * width)) for blocks in (3, 4, 6, 3)],
        width_per_group=round(64 * width),
        replace_stride_with_dilation=[False, True, True],
    )


SEGMENTERS = {"fcn32s_vgg16": build_fcn32s, "deeplabv3_resnet50": build_deeplabv3}
OF_MINI = {"fcn32s_vgg16": fcn32s_of_mini, "deeplabv3_resnet50": deeplabv3_of_mini}


def build_segmenter(params: Segmenter, classes: int, start: Tensors = NOTHING) -> nn.Module:
    """The network ``params.network`` names; ``start`` is the state dict of torchvision's VGG16, ResNet50 or
    DeepLabv3, if any.
    """
    return SEGMENTERS[params.network](params, classes, start)


def segmenter_of_mini(params: Segmenter, classes: int) -> tuple[nn.Module, Callable[[], Tensors]]:
    """A segmenter's network as a classifier of mini's ``classes``: (N, 3, h, w) -> (N, classes); and what
    :func:`build_segmenter` starts from.
    """
    return OF_MINI[params.network](params, classes)

"""Image classifiers: the small CNN and ConvNeXt of problem 1, the ResNets of problem 2."""

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor, nn
from torchvision.models import convnext, resnet

from hw1.engine.weights import NOTHING, Tensors, part_of
from hw1.run.parameters.params import ConvNeXt, SmallCnn

RESNETS = {
    "resnet10": partial(resnet.ResNet, resnet.BasicBlock, [1, 1, 1, 1]),  # half of 18's blocks; torchvision has none
    "resnet18": resnet.resnet18,
    "resnet34": resnet.resnet34,
    "resnet50": resnet.resnet50,
}

CONVNEXTS = {
    "convnext_tiny": convnext.convnext_tiny,
    "convnext_small": convnext.convnext_small,
    "convnext_base": convnext.convnext_base,
    "convnext_large": convnext.convnext_large,
}
# Widths and depths of two that torchvision does not have: "atto", the smallest of the ConvNeXt V2 paper
# (arXiv:2301.00808), and "zepto", the smallest of timm's. As there, their blocks have no layer scale (a factor of 1).
SMALL_CONVNEXTS = {
    "convnext_zepto": ((32, 64, 2), (64, 128, 2), (128, 256, 4), (256, None, 2)),
    "convnext_atto": ((40, 80, 2), (80, 160, 2), (160, 320, 6), (320, None, 2)),
}


class SmallCNN(nn.Module):
    """Model A of problem 1: two convolutions, two pools, then fully connected layers.

    Images (N, 3, h, w) float32 of any size are stretched to ``height`` x ``width`` (nearest) first.
    With the head ``printed``, fc1's outputs are the logits, as in the report's printed forward: class k
    is output k, the outputs past the number of classes are never a label. With ``declared`` the rest
    of what the report declares follows: ReLU, dropout, fc2.
    """

    def __init__(self, params: SmallCnn, classes: int):
        super().__init__()
        self.size = (params.height, params.width)
        self.convolutions = nn.Sequential(
            nn.Conv2d(3, 32, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
        )
        flat = 64 * (params.height // 4) * (params.width // 4)  # 29,696 for 32 x 232
        if params.head == "printed":
            self.hidden = nn.Flatten()
            self.last = nn.Linear(flat, max(params.hidden, classes))
        else:
            # Dropout2d on (N, C) drops single entries, as Dropout does, and warns: Dropout it is.
            self.hidden = nn.Sequential(
                nn.Flatten(), nn.Linear(flat, params.hidden), nn.ReLU(inplace=True), nn.Dropout(params.dropout)
            )
            self.last = nn.Linear(params.hidden, classes)

    def features(self, images: Tensor) -> Tensor:
        """Output of the second-last layer, the input of the last Linear: (N, features)."""
        if images.shape[-2:] != self.size:
            images = nn.functional.interpolate(images, self.size, mode="nearest")
        return self.hidden(self.convolutions(images))

    def forward(self, images: Tensor) -> Tensor:
        return self.last(self.features(images))


def build_classifier(params: SmallCnn | ConvNeXt, classes: int, start: Tensors = NOTHING) -> nn.Module:
    """The network of problem 1 that a section of ``classify`` describes: (N, 3, H, W) -> logits (N, >= classes).

    ``start`` is torchvision's state dict of the network, where it has one to start from.
    """
    return SmallCNN(params, classes) if isinstance(params, SmallCnn) else build_convnext(params, classes, start)


def build_convnext(params: ConvNeXt, classes: int, start: Tensors = NOTHING) -> nn.Module:
    """Model B of problem 1: a torchvision ConvNeXt with the report's classifier and freezing rule."""
    network = _convnext(params.network)
    if start:
        network.features.load_state_dict(part_of(start, "features"))
    width = network.classifier[-1].in_features
    # The report's classifier takes the place of torchvision's, LayerNorm included.
    network.classifier = nn.Sequential(
        nn.Flatten(), nn.Linear(width, params.hidden), nn.ReLU(), nn.Linear(params.hidden, classes)
    )
    network.features = PartlyFrozen(*network.features)
    freeze_convnext(network, params.trainable)
    return network


def _convnext(name: str) -> convnext.ConvNeXt:
    if name in SMALL_CONVNEXTS:
        return convnext.ConvNeXt([convnext.CNBlockConfig(*stage) for stage in SMALL_CONVNEXTS[name]], layer_scale=1.0)
    return CONVNEXTS[name]()


def convnext_of_mini(params: ConvNeXt, classes: int) -> tuple[nn.Module, Callable[[], Tensors]]:
    """A torchvision ConvNeXt, whole, for mini's ``classes``; and what :func:`build_convnext` takes from it."""
    network = _convnext(params.network)
    network.classifier[-1] = nn.Linear(network.classifier[-1].in_features, classes)
    return network, lambda: {f"features.{name}": tensor for name, tensor in network.features.state_dict().items()}


class PartlyFrozen(nn.Sequential):
    """Stages of blocks in a row, some of whose parameters take no gradients.

    Blocks before the first that has a trained parameter run without gradients, so nothing of them is
    kept for the backward pass. Every block without trained parameters stays in eval mode (no
    stochastic depth, no new statistics), whatever mode the network is in.
    """

    def train(self, mode: bool = True) -> "PartlyFrozen":
        super().train(mode)
        for block in self._blocks():
            if not _is_trained(block):
                block.eval()
        return self

    def forward(self, images: Tensor) -> Tensor:
        trained = False
        for block in self._blocks():
            trained = trained or _is_trained(block)
            with torch.set_grad_enabled(trained and torch.is_grad_enabled()):
                images = block(images)
        return images

    def _blocks(self) -> Iterator[nn.Module]:
        return (block for stage in self for block in stage)


def _is_trained(block: nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in block.parameters())


def freeze_convnext(network: nn.Module, trainable: str) -> None:
    """Leave gradients to the named part only.

    ``printed`` is the report's rule to the letter, parameters whose name holds "classifier" or "7":
    features.7.*, but features.5.7.* and features.5.17.* too. ``stage7`` is what it seems to mean.
    """
    rules = {
        "printed": lambda name: "classifier" in name or "7" in name,
        "stage7": lambda name: name.startswith(("classifier.", "features.7.")),
        "all": lambda name: True,
    }
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(rules[trainable](name))


def build_backbone(name: str) -> nn.Module:
    """A torchvision ResNet without its classifier: images (N, 3, H, W) -> features (N, 512 or 2048)."""
    network = RESNETS[name]()
    network.fc = nn.Identity()
    return network


class FinetunedClassifier(nn.Module):
    """A backbone and one linear classifier, the same for all settings A-E.

    ``frozen`` (settings D and E) means: the backbone gets no gradients and its BatchNorm stays in eval
    mode, whatever mode the classifier is in.
    """

    def __init__(self, backbone: nn.Module, width: int, classes: int, frozen: bool):
        super().__init__()
        self.backbone = backbone
        self.classifier = nn.Linear(width, classes)
        self.frozen = frozen
        self.backbone.requires_grad_(not frozen)
        self.train()

    def train(self, mode: bool = True) -> "FinetunedClassifier":
        super().train(mode)
        if self.frozen:
            self.backbone.eval()
        return self

    def forward(self, images: Tensor) -> Tensor:
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            features = self.backbone(images)  # (N, width)
        return self.classifier(features)


def feature_width(backbone: nn.Module) -> int:
    """Features a ResNet puts out: 512 (10, 18, 34 layers) or 2048 (50)."""
    return backbone.layer4[-1].conv2.out_channels * type(backbone.layer4[-1]).expansion

"""Weights pre-trained on ImageNet, as torchvision publishes them, for the networks that start from them."""

from pathlib import Path

from safetensors.numpy import save_file as save_nothing

from hw1.run.errors import InputError
from hw1.run.files import sha256
from hw1.sources.network import download

MAX_BYTES = 1 << 30  # ConvNeXt-Large, the largest wanted, has 0.8 billion
PUBLISHED = {  # network: torchvision's name of its weights, or of its backbone's
    "convnext_tiny": "ConvNeXt_Tiny_Weights.IMAGENET1K_V1",
    "convnext_small": "ConvNeXt_Small_Weights.IMAGENET1K_V1",
    "convnext_base": "ConvNeXt_Base_Weights.IMAGENET1K_V1",
    "convnext_large": "ConvNeXt_Large_Weights.IMAGENET1K_V1",
    "fcn32s_vgg16": "VGG16_Weights.IMAGENET1K_V1",
    "deeplabv3_resnet50": "ResNet50_Weights.IMAGENET1K_V2",
}


def write_start(network: str, weights: str, path: Path) -> None:
    """Write the state dict that ``network`` starts from as safetensors; one without tensors for ``weights`` that
    are not ImageNet's.

    Raises:
        InputError: they could not be had.
    """
    if weights != "imagenet":
        save_nothing({}, path)
        return
    import torch  # only here: it takes seconds, and most of the time there is nothing to convert
    from safetensors.torch import save_file
    from torchvision.models import get_weight

    fetched = fetch(get_weight(PUBLISHED[network]).url, Path(torch.hub.get_dir(), "checkpoints"))
    save_file(torch.load(fetched, map_location="cpu", weights_only=True), path)


def fetch(url: str, folder: Path) -> Path:
    """The file of ``url`` in torch's own cache ``folder``, or by download; its name ends in digits of its SHA-256."""
    name = url.rpartition("/")[2]
    digest = name.rpartition("-")[2].partition(".")[0]
    path = folder / name
    if not path.is_file():
        try:
            download(url, path, MAX_BYTES, f"sha256:{digest}")
        except InputError as error:
            advice = f"put the file into {folder} or set weights: mini or none"
            raise InputError(f"weights: imagenet could not be had ({error}); {advice}") from None
    if not sha256(path).startswith(digest):
        raise InputError(f"{path}: damaged, its SHA-256 does not begin with {digest}; delete it and run again")
    return path

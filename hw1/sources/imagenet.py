"""Weights pre-trained on ImageNet or COCO, as torchvision publishes them, for the networks that start from them."""

from pathlib import Path

from safetensors.numpy import save_file as save_nothing

from hw1.run.errors import InputError
from hw1.run.files import sha256
from hw1.sources.network import download

MAX_BYTES = 1 << 30  # ConvNeXt-Large, the largest wanted, has 0.8 billion
PUBLISHED = {  # by network and what it was trained on: torchvision's name of its weights, or of its backbone's
    ("convnext_tiny", "imagenet"): "ConvNeXt_Tiny_Weights.IMAGENET1K_V1",
    ("convnext_small", "imagenet"): "ConvNeXt_Small_Weights.IMAGENET1K_V1",
    ("convnext_base", "imagenet"): "ConvNeXt_Base_Weights.IMAGENET1K_V1",
    ("convnext_large", "imagenet"): "ConvNeXt_Large_Weights.IMAGENET1K_V1",
    ("fcn32s_vgg16", "imagenet"): "VGG16_Weights.IMAGENET1K_V1",
    ("deeplabv3_resnet50", "imagenet"): "ResNet50_Weights.IMAGENET1K_V2",
    ("deeplabv3_resnet50", "coco"): "DeepLabV3_ResNet50_Weights.COCO_WITH_VOC_LABELS_V1",
}


def write_start(network: str, weights: str, path: Path) -> None:
    """Write the state dict that ``network`` starts from as safetensors; one without tensors for ``weights`` that
    torchvision does not publish (mini, none).

    Raises:
        InputError: they could not be had.
    """
    if (network, weights) not in PUBLISHED:
        save_nothing({}, path)
        return
    import torch  # only here: it takes seconds, and most of the time there is nothing to convert
    from safetensors.torch import save_file
    from torchvision.models import get_weight

    fetched = fetch(get_weight(PUBLISHED[network, weights]).url, Path(torch.hub.get_dir(), "checkpoints"))
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
            raise InputError(f"{url}: these weights could not be had ({error}); {advice}") from None
    if not sha256(path).startswith(digest):
        raise InputError(f"{path}: damaged, its SHA-256 does not begin with {digest}; delete it and run again")
    return path

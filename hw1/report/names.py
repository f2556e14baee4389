"""What pictures and page call the values of params.yaml."""

from hw1.run.parameters.params import Params

NAMES = {
    "convnext_zepto": "ConvNeXt-Zepto",
    "convnext_atto": "ConvNeXt-Atto",
    "convnext_tiny": "ConvNeXt-Tiny",
    "convnext_small": "ConvNeXt-Small",
    "convnext_base": "ConvNeXt-Base",
    "convnext_large": "ConvNeXt-Large",
    "resnet10": "ResNet10",
    "resnet18": "ResNet18",
    "resnet34": "ResNet34",
    "resnet50": "ResNet50",
    "fcn32s_vgg16": "VGG16-FCN32s",
    "deeplabv3_resnet50": "DeepLabv3-ResNet50",
}
LOSSES = {"cross_entropy": "cross entropy", "focal": "focal loss"}
START = {"scratch": "random", "supervised": "supervised", "byol": "BYOL"}
TRAINED = {"full": "full model", "classifier": "classifier only"}
KEPT = {"last": "the last epoch", "best": "the epoch that was best on the same validation images, which flatters it"}
# The same within a sentence.
START_PHRASES = {"scratch": "random weights", "supervised": "the supervised backbone", "byol": "the BYOL backbone"}
TRAINING_PHRASES = {"full": "training the full model", "classifier": "training the classifier only"}


def model_names(params: Params) -> dict[str, dict[str, str]]:
    """What to call each model in titles and legends, by problem and key."""
    settings = {
        key: f"{START[setting.backbone]} start,\n{TRAINED[setting.train]}" for key, setting in params.settings.items()
    }
    return {
        "p1": {"A": "A, small CNN", "B": f"B, {NAMES[params.classify.B.network]}"},
        "p2": settings,
        "p3": {key: f"{key}, {NAMES[getattr(params.segment, key).network]}" for key in "AB"},
    }

"""Words for the values of params.yaml, and names of the models, in pictures, on the page and on model cards."""

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
OPTIMISERS = {"adam": "Adam", "sgd": "SGD"}
PRECISIONS = {"auto": "bf16 where the hardware has it, else float32", "bf16": "bf16", "fp32": "float32"}
KEPT = {"last": "the last epoch", "best": "the epoch that was best on the same validation images, which flatters it"}
TRAINED_PART = {
    "printed": 'names with "classifier" or "7"',
    "stage7": "features.7 and the classifier",
    "all": "everything",
}
# First weights of the networks of problems 1 and 3: in a table, and in a title.
WEIGHTS = {
    "none": ("random", "random weights"),
    "imagenet": ("ImageNet", "ImageNet weights"),
    "coco": ("COCO, torchvision's DeepLabv3", "COCO weights"),
    "mini": (
        "pre-trained here on mini's labels, in place of ImageNet's",
        "pre-trained here on mini's labels",
    ),
}
# Of the settings of problem 2: in a table, and within a sentence.
START = {"scratch": "random", "supervised": "supervised", "byol": "BYOL"}
START_PHRASES = {"scratch": "random weights", "supervised": "the supervised backbone", "byol": "the BYOL backbone"}
TRAINED = {"full": "full model", "classifier": "classifier only"}
TRAINING_PHRASES = {part: f"training the {words}" for part, words in TRAINED.items()}


def model_names(params: Params) -> dict[str, dict[str, str]]:
    """Names of the models by problem and key."""
    return {
        "p1": {"A": "small CNN", "B": NAMES[params.classify.B.network]},
        "p2": {key: f"{START[each.backbone]} start, {TRAINED[each.train]}" for key, each in params.settings.items()},
        "p3": {key: NAMES[getattr(params.segment, key).network] for key in "AB"},
    }


def model_titles(params: Params) -> dict[str, dict[str, str]]:
    """The same for titles and legends: after the key, or in two lines where the key stands beside them."""
    names = model_names(params)
    lines = {key: name.replace(", ", ",\n") for key, name in names.pop("p2").items()}
    return {"p2": lines} | {problem: {key: f"{key}, {names[problem][key]}" for key in "AB"} for problem in names}

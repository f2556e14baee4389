"""The model card of a folder for the Hugging Face hub, its ``README.md``, made from what the weights say of themselves.

The front matter is that of https://huggingface.co/docs/hub/model-cards; the text says where a network comes from, what
was measured of it, what it is not for, and how to load it.
"""

from collections.abc import Mapping

from hw1.archive.archive import EQUIVALENT, GIVEN, SYNTHETIC
from hw1.engine.card import Card
from hw1.predict.hub_config import Json, code_of, names_in
from hw1.predict.measured import Measured
from hw1.predict.model import PROBLEMS
from hw1.report.names import NAMES, START_PHRASES, TRAINING_PHRASES
from hw1.run.parameters.yaml_reader import yaml_text

# What the hub may call the data sets, by what the weights call the origin of their images: a task's own, and mini's.
OWN = {
    SYNTHETIC: dict.fromkeys(PROBLEMS, "hw1-synthetic"),
    EQUIVALENT: {"classify": "cifar100", "finetune": "office-home", "segment": "deepglobe-land-cover"},
}
MINI = {SYNTHETIC: "hw1-synthetic", EQUIVALENT: "mini-imagenet"}
ORIGINS = {
    SYNTHETIC: "Pictures that the project draws itself, by its stage `download`: no photographs.",
    EQUIVALENT: "Photographs of public data sets, as many as the homework's, chosen by the project's own rules, as the "
    "homework's own choice is not published.",
    GIVEN: "An archive in the homework's layout that was given to the project. These weights do not say what its "
    "pictures are or who owns them: whoever publishes them must add it here.",
}
LIMITS = {
    SYNTHETIC: "It learnt its task from pictures drawn by a program alone: what it says of photographs means nothing.",
    EQUIVALENT: "What it says of pictures unlike those data sets' is untested.",
    GIVEN: "What it says of pictures unlike that archive's is untested.",
}
STARTS = {"imagenet": "ImageNet's weights", "mini": "the same network trained on the labels of the data's part mini"}
REPORTS = {"classify@A": "small_cnn", "classify@B": "convnext_base", "finetune": "resnet50"}
REPORTS |= {"segment@A": "fcn32s_vgg16", "segment@B": "deeplabv3_resnet50"}
METRICS = {"accuracy": ("accuracy", "Accuracy"), "miou": ("mean_iou", "Mean IoU")}


def card_of_folder(card: Card, config: Json, parameters: int, result: Measured | None, run: Mapping[str, str]) -> str:
    """The text of README.md.

    ``parameters`` is how many numbers the network has, ``run`` what is known of when and where it was trained.
    """
    sections = {
        "Result": _result(result),
        "Intended use and limits": _limits(card, parameters),
        "Training": _training(card, run),
        "Loading": _loading(card, config),
        "Licence": "The weights are under the MIT licence, as the project is. The data sets keep the terms of their "
        "owners, which may bind what is made of them.",
    }
    front = yaml_text(front_matter(card, config, result))
    text = "\n\n".join(f"## {title}\n\n{content}" for title, content in sections.items())
    return f"---\n{front}---\n\n# {_name(card)}\n\n{_what(card)}\n\n{text}\n"


def front_matter(card: Card, config: Json, result: Measured | None) -> Json:
    """What the hub reads; a result only where it was measured of these weights."""
    task, sets = config["pipeline_tag"], data_sets(card)
    own = OWN.get(card.origin, {}).get(card.task, "given-archive")
    front = {
        "license": "mit",
        "library_name": config["library_name"],
        "pipeline_tag": task,
        "tags": ["pytorch", "safetensors", "hw1", card.network.replace("_", "-")],
    }
    if sets:
        front["datasets"] = sets
    if result is not None:
        metric, name = METRICS[result.measure]
        measured = {"type": metric, "name": name, "value": round(result.value, 4)}
        data = {"type": own, "name": card.origin, "split": "validation"}
        results = [{"task": {"type": task}, "dataset": data, "metrics": [measured]}]
        front |= {"metrics": [metric], "model-index": [{"name": _name(card), "results": results}]}
    return front


def data_sets(card: Card) -> list[str]:
    """What the weights were made from, the training's own first; empty where they do not say."""
    own = OWN.get(card.origin, {}).get(card.task)
    before = {"imagenet": "imagenet-1k", "mini": MINI.get(card.origin), "byol": MINI.get(card.origin)}.get(_start(card))
    return list(dict.fromkeys(name for name in (own, before) if name))


def _start(card: Card) -> str:
    """What the network started from, as params.yaml calls it: a backbone, or imagenet, mini, none."""
    key = f"settings.{card.model}.backbone" if card.task == "finetune" else f"{card.stage.replace('@', '.')}.weights"
    return str(card.parameters.get(key, "none"))


def _name(card: Card) -> str:
    return f"hw1-{card.stage.replace('@', '-')}"


def _title(network: str) -> str:
    return NAMES.get(network, "small CNN")


def _what(card: Card) -> str:
    of = "setting" if card.task == "finetune" else "model"
    does = "masks of seven kinds of land cover" if card.task == "segment" else f"labels of {card.classes} classes"
    return (
        f"A {_title(card.network)} that gives {does}: problem {PROBLEMS[card.task][1]}, {of} {card.model}, of NTU's "
        '"Deep Learning for Computer Vision", Fall 2023, homework 1, as the project hw1 rebuilds a report on it.'
    )


def _result(result: Measured | None) -> str:
    if result is None:
        return "No result of exactly these weights is at hand."
    value, low, high = (f"{100 * number:.1f}" for number in (result.value, result.low, result.high))
    return (
        f"| measure | in percent | 95 % interval | validation images |\n|---|--:|--:|--:|\n"
        f"| {METRICS[result.measure][1]} | {value} | {low} to {high} | {result.images:,} |\n\n"
        f"The interval ({result.method}) is over the validation images; training again with another seed moves the "
        "number too."
    )


def _limits(card: Card, parameters: int) -> str:
    lines = [
        "Made to check a published report and to compare ways of training, not for use in earnest.",
        LIMITS.get(card.origin, LIMITS[GIVEN]),
        f"It has {parameters:,} parameters and is fed pictures of {card.input_side} x {card.input_side} px.",
    ]
    report = REPORTS.get(card.stage) or REPORTS[card.task]
    if card.network != report:
        lines[-1] += f" The report's network is a {_title(report)}."
    if card.task == "segment":
        if card.training.width != 1:
            lines[-1] += f" Its layers have {card.training.width:g} of the width that the report's have."
        lines.append("Not for decisions about land, its use or its value, nor for maps.")
    else:
        lines.append("Its classes are the numbers of the data's tables, without names, and every picture gets one.")
    return "\n".join(f"- {line}" for line in lines)


def _training(card: Card, run: Mapping[str, str]) -> str:
    if card.task == "finetune":
        trained = card.parameters[f"settings.{card.model}.train"]
        start = f"{START_PHRASES.get(_start(card), 'given weights')}, {TRAINING_PHRASES.get(trained, trained)}"
    else:
        start = STARTS.get(_start(card), "random weights")
    said = [
        f"The stage `{card.stage}` of `dvc.yaml` trained it from {start}. These are the weights after epoch "
        f"{card.epoch} of {card.training.epochs}.",
        ORIGINS.get(card.origin, ORIGINS[GIVEN]),
    ]
    if run:
        said.append(
            f"Recorded of the training: {'; '.join(f'{name} {value}' for name, value in run.items() if value)}."
        )
    if _start(card) == "supervised":
        said.append("Whether the supervised backbone was trained here or given, these weights do not say.")
    rows = "\n".join(f"| `{key}` | {value} |" for key, value in sorted(card.parameters.items()))
    return "\n\n".join([*said, f"| parameter | |\n|---|---|\n{rows}"])


def _loading(card: Card, config: Json) -> str:
    problem, images = PROBLEMS[card.task], {"p2": "images.csv images/ labels.csv", "p3": "tiles/ masks/"}
    own = (
        "With the project, from its root, predictions and the network:\n\n```sh\npython -m hw1.predict "
        f"{problem} {images.get(problem, 'images/ labels.csv')} --weights model.safetensors\n```\n\n```python\n"
        "from pathlib import Path\nfrom hw1.evaluate.trained import load_model\n"
        'network = load_model(Path("model.safetensors"))[0].eval()\n```\n\n'
    )
    if config["torchvision"] is None:
        return (
            f"{own}torchvision has no such network: `{config['class']}` of the project builds it from `parameters` in "
            "`config.json`."
        )
    return f"{own}Without it, by torchvision and safetensors:\n\n```python\n{torchvision_code(config)}```"


def torchvision_code(config: Json) -> str:
    """Python that builds the network of a config by torchvision, and scores a picture."""
    said = config["torchvision"]
    modules: dict[str, list[str]] = {}
    for name in sorted(names_in(said["call"]) | names_in(said["arguments"]) | names_in(said["replace"])):
        module, _, leaf = name.rpartition(".")
        modules.setdefault(module, []).append(leaf)
    imports = "\n".join(f"from {module} import {', '.join(leaves)}" for module, leaves in modules.items())
    replaced = "".join(f"network.{part} = {code_of(call)}\n" for part, call in said["replace"].items())
    renaming = "".join(f'.replace("{old}", "{new}", 1)' for old, new in said["names"].items())
    renamed = f"{{name{renaming}: tensor for name, tensor in weights.items()}}" if renaming else "weights"
    norm = config["normalisation"]
    steps = [_step(step) for step in config["preparation"] if step["by"] == "PIL"]
    steps += ["PILToTensor()", *(_step(step) for step in config["preparation"] if step["by"] == "torch")]
    steps += ["ToDtype(torch.float32, scale=True)", f"Normalize({norm['mean']}, {norm['std']})"]
    listed = "".join(f"    {step},\n" for step in steps)
    picked = '["out"]' if config["pipeline_tag"] == "image-segmentation" else f"[:, :{config['num_classes']}]"
    return (
        f"import torch\nfrom PIL import Image\nfrom safetensors.torch import load_file\n{imports}\n"
        "from torchvision.transforms import InterpolationMode\n"
        "from torchvision.transforms.v2 import CenterCrop, Compose, Normalize, PILToTensor, Resize, ToDtype\n\n"
        f"network = {code_of(said)}\n{replaced}"
        'weights = load_file("model.safetensors")\n'
        f"network.load_state_dict({renamed})\n\n"
        f"prepare = Compose([\n{listed}])\n"
        'picture = prepare(Image.open("picture.jpg").convert("RGB"))\n'
        f"scores = network.eval()(picture[None]){picked}\n"
    )


def _step(step: Json) -> str:
    if "centre_crop" in step:
        return f"CenterCrop({step['centre_crop']})"
    return f"Resize({(step['resize'], step['resize'])}, InterpolationMode.{step['filter'].upper()})"

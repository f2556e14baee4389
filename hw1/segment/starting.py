"""What the networks of problems 1 and 3 start from: ImageNet's weights, those of mini's labels, or none."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from hw1.classify.classification import TRAIN_COLUMNS, mini_recipe
from hw1.classify.classifiers import convnext_of_mini
from hw1.engine.recipe import Recipe, Run
from hw1.engine.weights import Tensors
from hw1.run.files import whole_file
from hw1.run.params import ConvNeXt, Params, Segmenter
from hw1.run.ranks import by_first
from hw1.segment.segmenters import segmenter_of_mini

MODELS = {"P1B": ("classify", "B"), "P3A": ("segment", "A"), "P3B": ("segment", "B")}


def section_of(params: Params, name: str) -> ConvNeXt | Segmenter:
    """The section of params.yaml that describes the network."""
    task, model = MODELS[name]
    return getattr(getattr(params, task), model)


def shaping(params: Params, name: str) -> list[str]:
    """Dotted paths of the network's parameters that decide which weights it can start from."""
    task, model = MODELS[name]
    keys = ("network", "weights", "width")
    return [f"{task}.{model}.{key}" for key in keys if hasattr(section_of(params, name), key)]


def start_recipe(params: Params, name: str, data: Path, run: Run) -> tuple[Recipe, Callable[[], Tensors]]:
    """The network on the labels of the prepared mini; and what to keep of it afterwards."""
    of_mini = convnext_of_mini if MODELS[name][0] == "classify" else segmenter_of_mini
    network, kept = of_mini(section_of(params, name), run.manifest.classes)
    training = getattr(params.pretrain.start, name)
    return mini_recipe(network, training, f"pretrain.start.{name}", data, run), kept


def pass_on(imagenet: Path, writes: Mapping[str, Path]) -> None:
    """Leave ImageNet's weights, or the file without any, as they are, and a history without epochs."""
    with by_first(whole_file, writes["weights"]) as weights, by_first(whole_file, writes["history"]) as history:
        shutil.copyfile(imagenet, weights)
        history.write_text(",".join(TRAIN_COLUMNS) + "\n")

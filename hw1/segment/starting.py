"""What the networks of problems 1 and 3 start from: ImageNet's weights, those of mini's labels, or none."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from hw1.classify.classification import TRAIN_COLUMNS, labels_recipe
from hw1.classify.classifiers import convnext_of_mini
from hw1.engine.recipe import Recipe, Run
from hw1.engine.weights import Tensors
from hw1.run.errors import InputError
from hw1.run.files import whole_file
from hw1.run.parameters.params import ConvNeXt, Params
from hw1.run.processes.ranks import by_first
from hw1.segment.segmenters import segmenter_of_mini

MODELS = {"P1B": "classify.B", "P3A": "segment.A", "P3B": "segment.B"}  # each with its section of params.yaml


def shaping(params: Params, name: str) -> list[str]:
    """Dotted paths of the network's parameters that decide which weights it can start from; the last sizes it."""
    keys = ("network", "weights", "width")
    return [f"{MODELS[name]}.{key}" for key in keys if hasattr(params.starting[name], key)]


def start_recipe(params: Params, name: str, data: Path, run: Run) -> tuple[Recipe, Callable[[], Tensors]]:
    """The network on the labels of the prepared mini; and what to keep of it afterwards.

    Raises:
        InputError: mini has no labels.
    """
    if not run.manifest.classes:
        raise InputError(
            f"weights: mini ({run.stage}): the archive has no p2_data/mini/train.csv; add it, or set weights: imagenet "
            "or none"
        )
    model, training = params.starting[name], getattr(params.pretrain.start, name)
    of_mini = convnext_of_mini if isinstance(model, ConvNeXt) else segmenter_of_mini
    network, kept = of_mini(model, run.manifest.classes)
    network = run.machine.place(network, shaping(params, name)[-1])
    return labels_recipe(network, training, f"pretrain.start.{name}", data, run), kept


def pass_on(imagenet: Path, writes: Mapping[str, Path]) -> None:
    """Leave ImageNet's weights, or the file without any, as they are, and a history without epochs."""
    with by_first(whole_file, writes["weights"]) as weights, by_first(whole_file, writes["history"]) as history:
        shutil.copyfile(imagenet, weights)
        history.write_text(",".join(TRAIN_COLUMNS) + "\n")

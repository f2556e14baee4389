"""The model card in a file of trained weights: enough to build its network and to feed it from the file alone."""

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

from torch import nn

from hw1.data.arrays import Manifest
from hw1.data.classes import LAND_COVER
from hw1.engine.weights import read_metadata, save_weights
from hw1.images.input import IMAGENET_MEAN, IMAGENET_STD, input_of
from hw1.run.errors import InputError
from hw1.run.parameters.params import Classify, ConvNeXt, Finetune, Pixels, Range, Segment, Training, section

NORMALISATION = {"mean": list(IMAGENET_MEAN), "std": list(IMAGENET_STD)}  # of RGB values divided by 255
RAW = {"mean": [0.0, 0.0, 0.0], "std": [1 / 255, 1 / 255, 1 / 255]}  # which leaves the levels of 0 to 255
STAGE = re.compile(r"(classify|segment)@[AB]|finetune@\w+")


@dataclass(frozen=True)
class Facts:
    """Plain values of a card: the ``stage`` of DVC that trained the network, the ``epoch`` it is after, its
    number of ``classes``, and of the stored images the ``origin``, the sizes in px and the filter they were resized by
    (:class:`hw1.data.arrays.Manifest`).
    """

    stage: str
    epoch: Annotated[int, Range(1)]
    classes: Annotated[int, Range(1, 100_000)]
    origin: str
    resize: Pixels
    crop: Pixels
    filter: Literal["bicubic", "bilinear"]


@dataclass(frozen=True)
class Card(Facts):
    """The facts of a trained network and every parameter it was trained with, by dotted path."""

    parameters: dict[str, Any]

    @classmethod
    def of(cls, stage: str, epoch: int, manifest: Manifest, parameters: Mapping[str, Any]) -> "Card":
        """The card of a network trained on the part that ``manifest`` describes."""
        images = manifest.origin, manifest.resize, manifest.crop, manifest.filter
        return cls(stage, epoch, manifest.classes, *images, dict(parameters))

    @property
    def task(self) -> str:
        """classify, finetune or segment."""
        return self.stage.partition("@")[0]

    @property
    def model(self) -> str:
        """A to E, or what else params.yaml calls it."""
        return self.stage.partition("@")[2]

    @property
    def network(self) -> str:
        """small_cnn, or the network's name in params.yaml."""
        return (
            self.parameters["backbone"] if self.task == "finetune" else getattr(self.training, "network", "small_cnn")
        )

    @property
    def training(self) -> Training:
        """The section of parameters it was trained with, checked; start weights left out, the file has its own.

        Raises:
            InputError: the file's parameters are not those of a training.
        """
        if self.task == "finetune":
            kind, path = Finetune, "finetune"
        else:
            kind = get_type_hints({"classify": Classify, "segment": Segment}[self.task])[self.model]
            path = f"{self.task}.{self.model}"
        prefix = f"{path}."
        values = {key.removeprefix(prefix): value for key, value in self.parameters.items() if key.startswith(prefix)}
        if self.task == "finetune":  # what the setting has in the place of finetune's
            fields = {field.name: f"settings.{self.model}.{field.name}" for field in dataclasses.fields(Finetune)}
            values |= {name: self.parameters[key] for name, key in fields.items() if key in self.parameters}
        return section(kind, values | ({"weights": "none"} if "weights" in values else {}), path)

    @property
    def input_side(self) -> int:
        """Side in px of the square images the network is fed."""
        return self.training.crop if isinstance(self.training, ConvNeXt) else self.crop

    def metadata(self) -> dict[str, Any]:
        """Everything, and how a picture becomes the network's input, as plain JSON."""
        steps: list[dict[str, Any]] = [
            {"resize": self.resize, "filter": self.filter},
            {"centre_crop": self.crop},
        ]
        if isinstance(self.training, ConvNeXt):
            steps += [{"resize": self.training.resize, "filter": "bicubic"}, {"centre_crop": self.training.crop}]
        return {
            **dataclasses.asdict(self),
            "network": self.network,
            "input_size": [3, self.input_side, self.input_side],
            "preparation": steps,
            "normalisation": NORMALISATION if input_of(self.training).normalised else RAW,
        }


def save_model(network: nn.Module, path: Path, card: Card) -> None:
    """Write a network's weights with its card."""
    save_weights(network, path, card.metadata())


def read_card(path: Path) -> Card:
    """The card of a file of :func:`save_model`, checked; InputError for another file."""
    metadata = read_metadata(path)
    names = [field.name for field in dataclasses.fields(Facts)]
    try:
        facts = section(Facts, {name: metadata[name] for name in names if name in metadata}, "")
        if not STAGE.fullmatch(facts.stage) or not isinstance(metadata.get("parameters"), dict):
            raise InputError("its stage or its parameters are not said")
        raw = metadata["parameters"].get("classify.A.normalise") is False
        if metadata.get("normalisation") != (RAW if raw else NORMALISATION):
            raise InputError("it was trained with another normalisation")
        if facts.crop > facts.resize:
            raise InputError(f"crop: got {facts.crop}, allowed: at most resize, {facts.resize}")
        if facts.stage.startswith("segment") and facts.classes != len(LAND_COVER):
            raise InputError(f"classes: got {facts.classes}, a segmenter has {len(LAND_COVER)}")
    except InputError as error:
        raise InputError(f"{path}: no trained network of this project ({error})") from None
    return Card(**vars(facts), parameters=metadata["parameters"])

"""Every number of the pipeline: params.yaml loaded into frozen, checked dataclasses.

A file that does not fit ends the stage with one line; nothing is changed after loading. Units and sources of the values
stand beside them in ``presets/``.
"""

import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal

from hw1.run.errors import InputError
from hw1.run.parameters.yaml_reader import Range, read_yaml, section
from hw1.run.parameters.yaml_reader import flat as flat  # for whoever has the parameters from here

Seed = Annotated[int, Range(0, 2**31 - 1)]
Count = Annotated[int, Range(1)]
Pixels = Annotated[int, Range(8, 4096)]
Positive = Annotated[float, Range(0, above=True)]
NonNegative = Annotated[float, Range(0)]
Fraction = Annotated[float, Range(0, 1)]
Factor = Annotated[float, Range(0, 1, above=True)]
BatchSize = Annotated[int, Range(2)]
Augmentation = Literal["none", "choice224", "trivial128"]
Schedule = Literal["constant", "cosine", "exponential"]


@dataclass(frozen=True)
class Runtime:
    numerics: Literal["portable", "native"]
    threads: Annotated[int, Range(0, 1024)]
    device: Literal["auto", "cpu", "cuda"]
    precision: Literal["auto", "bf16", "fp32"]
    deterministic: bool
    resident_share: Fraction

    def __post_init__(self) -> None:
        if self.numerics == "portable" and not self.threads:
            raise ValueError("threads: got 0, allowed with numerics portable: 1 or more")
        if self.numerics == "portable" and self.precision == "bf16":
            raise ValueError("precision: got bf16, allowed with numerics portable: auto, fp32")


@dataclass(frozen=True)
class Resources:
    cpus: Annotated[int, Range(1, 1024)]
    gpus: Annotated[int, Range(0, 1024)]
    minutes: Count


@dataclass(frozen=True)
class Slurm:
    options: str
    prepare: Resources
    train: Resources
    evaluate: Resources
    report: Resources


@dataclass(frozen=True)
class Launch:
    devices: Annotated[int, Range(1, 1024)]
    trainings_per_gpu: Count
    slurm: Slurm


@dataclass(frozen=True)
class Checkpointing:
    minutes: Positive


@dataclass(frozen=True)
class Data:
    source: Literal["synthetic", "path", "url", "course", "public"]
    path: str
    url: str
    originals: str
    weights: str
    sha256: str

    def __post_init__(self) -> None:
        if self.source == "path" and not self.path:
            raise ValueError("path: got '', allowed: the zip file, tar file or folder to read")
        if self.source == "url" and not re.match("https?://[^/]", self.url):
            raise ValueError(f"url: got {self.url!r}, allowed: the https address of a zip or tar file")
        if self.source == "public" and not self.originals:
            raise ValueError("originals: got '', allowed: the folder of the four public data sets")
        if self.sha256 and not re.fullmatch("[0-9a-f]{64}", self.sha256):
            raise ValueError(f"sha256: got {self.sha256!r}, allowed: '' or 64 lower-case hex digits")


@dataclass(frozen=True)
class LabelledImages:
    classes: Annotated[int, Range(2, 20)]
    train: Count
    validation: Count
    size: Pixels


@dataclass(frozen=True)
class UnlabelledImages:
    classes: Annotated[int, Range(2, 20)]
    train: Count
    size: Pixels


@dataclass(frozen=True)
class Tiles:
    train: Count
    validation: Annotated[int, Range(3)]
    size: Pixels


@dataclass(frozen=True)
class Synthetic:
    seed: Seed
    p1: LabelledImages
    mini: UnlabelledImages
    office: LabelledImages
    p3: Tiles


@dataclass(frozen=True)
class Square:
    size: Pixels


@dataclass(frozen=True)
class ResizeCrop:
    resize: Pixels
    crop: Pixels
    filter: Literal["bicubic", "bilinear"]

    def __post_init__(self) -> None:
        if self.crop > self.resize:
            raise ValueError(f"crop: got {self.crop}, allowed: at most resize, {self.resize}")


@dataclass(frozen=True)
class Prepare:
    p1: Square
    mini: ResizeCrop
    office: ResizeCrop
    p3: Square


@dataclass(frozen=True, kw_only=True)
class Training:
    """Length, batch, optimiser and the course of the learning rate: what every training declares."""

    epochs: Count
    batch_size: BatchSize
    optimiser: Literal["adam", "sgd"]
    momentum: Annotated[float, Range(0, 0.9999)]
    weight_decay: NonNegative
    schedule: Schedule
    gamma: Factor | None = None

    def __post_init__(self) -> None:
        if self.schedule == "exponential" and self.gamma is None:
            raise ValueError("gamma: missing; schedule exponential needs the factor of the rate in each epoch, as 0.9")


@dataclass(frozen=True, kw_only=True)
class Supervised(Training):
    lr: Positive
    augmentation: Augmentation


@dataclass(frozen=True, kw_only=True)
class ByolTraining(Supervised):
    hidden: Count
    projection: Count
    ema: Fraction
    collapse_spread: Fraction
    on_collapse: Literal["warn", "stop"]


@dataclass(frozen=True, kw_only=True)
class StartTraining(Supervised):
    size: Pixels


@dataclass(frozen=True)
class Starts:
    P1B: StartTraining
    P3A: StartTraining
    P3B: StartTraining


@dataclass(frozen=True)
class Probes:
    neighbours: Count
    images: Annotated[int, Range(10)]


@dataclass(frozen=True)
class Pretrain:
    probes: Probes
    supervised: Supervised
    byol: ByolTraining
    start: Starts


@dataclass(frozen=True, kw_only=True)
class SmallCnn(Supervised):
    height: Pixels
    width: Pixels
    head: Literal["printed", "declared"]
    hidden: Count
    dropout: Fraction
    normalise: bool = True


@dataclass(frozen=True, kw_only=True)
class ConvNeXt(Supervised):
    network: Literal[
        "convnext_zepto", "convnext_atto", "convnext_tiny", "convnext_small", "convnext_base", "convnext_large"
    ]
    weights: Literal["imagenet", "mini", "none"]
    trainable: Literal["printed", "stage7", "all"]
    resize: Pixels
    crop: Pixels
    hidden: Count

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.crop > self.resize:
            raise ValueError(f"crop: got {self.crop}, allowed: at most resize, {self.resize}")
        if self.weights == "imagenet" and self.network in ("convnext_zepto", "convnext_atto"):
            raise ValueError(f"weights: got 'imagenet', allowed with network {self.network}: mini, none")


@dataclass(frozen=True)
class Classify:
    A: SmallCnn
    B: ConvNeXt


@dataclass(frozen=True, kw_only=True)
class Finetune(Training):
    augmentation: Augmentation


@dataclass(frozen=True)
class Setting:
    """The start and the trained part of a setting, with its values in place of those of ``finetune`` and ``lr``."""

    backbone: Literal["scratch", "supervised", "byol"]
    train: Literal["full", "classifier"]
    lr: Positive | None = None
    epochs: Count | None = None
    batch_size: BatchSize | None = None
    schedule: Schedule | None = None
    gamma: Factor | None = None
    augmentation: Augmentation | None = None

    @property
    def meaning(self) -> tuple[Any, ...]:
        """The values that are given: of the report's settings backbone and part alone."""
        return tuple(value for value in vars(self).values() if value is not None)


@dataclass(frozen=True, kw_only=True)
class Segmenter(Training):
    lr: Positive
    loss: Literal["cross_entropy", "focal"]
    focal_alpha: Fraction
    focal_gamma: NonNegative
    network: Literal["fcn32s_vgg16", "deeplabv3_resnet50"]
    weights: Literal["imagenet", "coco", "mini", "none"]
    width: Annotated[float, Range(0.0625, 1)]
    horizontal_flip: Fraction
    vertical_flip: Fraction
    color_jitter: Annotated[float, Range(0, 0.5)]

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.weights == "coco" and self.network != "deeplabv3_resnet50":
            raise ValueError(f"weights: got 'coco', allowed with network {self.network}: imagenet, mini, none")
        if self.weights in ("imagenet", "coco") and self.width != 1:
            raise ValueError(f"width: got {self.width:g}, allowed with weights {self.weights}: 1")


@dataclass(frozen=True)
class Segment:
    A: Segmenter
    B: Segmenter


@dataclass(frozen=True)
class Evaluate:
    keep: Literal["last", "best"]
    tsne_perplexity: Positive
    mask_ids: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.mask_ids:
            raise ValueError("mask_ids: got [], allowed: the ids of the validation tiles to show")


@dataclass(frozen=True)
class Params:
    """The whole of params.yaml, section by section."""

    seed: Seed
    lr: Positive
    runtime: Runtime
    launch: Launch
    checkpoint: Checkpointing
    data: Data
    synthetic: Synthetic
    prepare: Prepare
    backbone: Literal["resnet10", "resnet18", "resnet34", "resnet50"]
    pretrain: Pretrain
    classify: Classify
    finetune: Finetune
    settings: dict[str, Setting]
    segment: Segment
    evaluate: Evaluate

    def __post_init__(self) -> None:
        for name in self.settings:
            if name in ("image", "label"):  # the other columns of the predictions
                raise ValueError(f"settings.{name}: got a name of another column, allowed: any other")
            try:
                self.finetuning(name)
            except ValueError as error:
                raise ValueError(f"settings.{name}.{error}") from None

    @property
    def starting(self) -> dict[str, ConvNeXt | Segmenter]:
        """The networks of problems 1 and 3 that start from other weights, by the name of their start."""
        return {"P1B": self.classify.B, "P3A": self.segment.A, "P3B": self.segment.B}

    def setting(self, name: str) -> Setting:
        """Setting ``name`` of the fine-tuning comparison; InputError if params.yaml has none such."""
        if name not in self.settings:
            raise InputError(f"settings.{name}: not in params.yaml, allowed: {', '.join(self.settings)}")
        return self.settings[name]

    def finetuning(self, name: str) -> Supervised:
        """The recipe of setting ``name``: ``finetune`` and ``lr``, or what the setting has in their place."""

        def value_of(key: str) -> Any:
            replaced = getattr(self.settings[name], key, None)
            return getattr(self if key == "lr" else self.finetune, key) if replaced is None else replaced

        return Supervised(**{field.name: value_of(field.name) for field in fields(Supervised)})


def load(path: str | Path = "params.yaml") -> Params:
    """Read and check a parameter file.

    Raises:
        InputError: a file that is no YAML, or a key that is unknown, missing, of a wrong type or out of range.
    """
    return section(Params, read_yaml(path), "")

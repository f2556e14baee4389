"""Every number of the pipeline: params.yaml loaded into frozen, checked dataclasses.

This module is the only reader of YAML. A file that does not fit ends the stage with one line that
names the key's path, what was given and what is allowed; nothing is changed after loading.
Units and sources of the values stand beside them in ``presets/``.
"""

import dataclasses
import re
import reprlib
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import yaml

from hw1.run.errors import InputError

MAX_BYTES = 1 << 20  # of a parameter file; the presets have 10 KiB


@dataclass(frozen=True)
class Range:
    """The closed interval a number must lie in; ``above`` leaves the lower end out."""

    low: float
    high: float = float("inf")
    above: bool = False

    def holds(self, value: float) -> bool:
        return (value > self.low if self.above else value >= self.low) and value <= self.high

    def __str__(self) -> str:
        low = f"above {self.low:g}" if self.above else f"{self.low:g} or more"
        return low if self.high == float("inf") else f"{low}, at most {self.high:g}"


Seed = Annotated[int, Range(0, 2**31 - 1)]
Count = Annotated[int, Range(1)]
Pixels = Annotated[int, Range(8, 4096)]
Positive = Annotated[float, Range(0, above=True)]
NonNegative = Annotated[float, Range(0)]
Fraction = Annotated[float, Range(0, 1)]
Augmentation = Literal["none", "choice224", "trivial128"]


@dataclass(frozen=True)
class Runtime:
    device: Literal["auto", "cpu", "cuda"]
    precision: Literal["auto", "bf16", "fp32"]
    deterministic: bool
    resident_share: Fraction


@dataclass(frozen=True)
class Launch:
    devices: Annotated[int, Range(1, 1024)]
    trainings_per_gpu: Count


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

    def __post_init__(self) -> None:
        if self.crop > self.resize:
            raise ValueError(f"crop: got {self.crop}, allowed: at most resize, {self.resize}")


@dataclass(frozen=True)
class Prepare:
    p1: Square
    mini: Square
    office: ResizeCrop
    p3: Square


@dataclass(frozen=True, kw_only=True)
class Training:
    """What every training declares: length, batch, optimiser and the course of the learning rate."""

    epochs: Count
    batch_size: Annotated[int, Range(2)]
    optimiser: Literal["adam", "sgd"]
    momentum: Annotated[float, Range(0, 0.9999)]
    weight_decay: NonNegative
    schedule: Literal["constant", "cosine"]


@dataclass(frozen=True, kw_only=True)
class Supervised(Training):
    lr: Positive
    loss: Literal["cross_entropy"]
    augmentation: Augmentation


@dataclass(frozen=True, kw_only=True)
class ByolTraining(Training):
    lr: Positive
    augmentation: Augmentation
    hidden: Count
    projection: Count
    ema: Fraction
    collapse_spread: Fraction
    on_collapse: Literal["warn", "stop"]


@dataclass(frozen=True)
class Knn:
    neighbours: Count
    images: Annotated[int, Range(10)]


@dataclass(frozen=True)
class Pretrain:
    knn: Knn
    supervised: Supervised
    byol: ByolTraining


@dataclass(frozen=True, kw_only=True)
class SmallCnn(Training):
    lr: Positive
    loss: Literal["cross_entropy"]
    augmentation: Augmentation
    height: Pixels
    width: Pixels
    head: Literal["printed", "declared"]
    hidden: Count
    dropout: Fraction


@dataclass(frozen=True, kw_only=True)
class ConvNeXt(Training):
    lr: Positive
    loss: Literal["cross_entropy"]
    augmentation: Augmentation
    network: Literal["convnext_atto", "convnext_tiny", "convnext_small", "convnext_base", "convnext_large"]
    weights: Literal["none", "imagenet"]
    trainable: Literal["printed", "stage7", "all"]
    resize: Pixels
    crop: Pixels
    hidden: Count

    def __post_init__(self) -> None:
        if self.crop > self.resize:
            raise ValueError(f"crop: got {self.crop}, allowed: at most resize, {self.resize}")
        if self.weights == "imagenet" and self.network == "convnext_atto":
            raise ValueError("weights: got 'imagenet', allowed with network convnext_atto: none")


@dataclass(frozen=True)
class Classify:
    A: SmallCnn
    B: ConvNeXt


@dataclass(frozen=True, kw_only=True)
class Finetune(Training):
    loss: Literal["cross_entropy"]
    augmentation: Augmentation


@dataclass(frozen=True)
class Setting:
    backbone: Literal["scratch", "supervised", "byol"]
    train: Literal["full", "classifier"]


@dataclass(frozen=True, kw_only=True)
class Segmenter(Training):
    lr: Positive
    loss: Literal["cross_entropy", "focal"]
    focal_alpha: Fraction
    focal_gamma: NonNegative
    network: Literal["fcn32s_vgg16", "deeplabv3_resnet50"]
    weights: Literal["none", "imagenet"]
    width: Annotated[float, Range(0.0625, 1)]
    horizontal_flip: Fraction
    vertical_flip: Fraction
    color_jitter: Annotated[float, Range(0, 0.5)]

    def __post_init__(self) -> None:
        if self.weights == "imagenet" and self.width != 1:
            raise ValueError(f"width: got {self.width:g}, allowed with weights imagenet: 1")


@dataclass(frozen=True)
class Segment:
    A: Segmenter
    B: Segmenter


@dataclass(frozen=True)
class Evaluate:
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
    backbone: Literal["resnet18", "resnet34", "resnet50"]
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

    def setting(self, name: str) -> Setting:
        """Setting ``name`` of the fine-tuning comparison; InputError if params.yaml has none such."""
        if name not in self.settings:
            raise InputError(f"settings.{name}: not in params.yaml, allowed: {', '.join(self.settings)}")
        return self.settings[name]


def load(path: str | Path = "params.yaml") -> Params:
    """Read and check a parameter file.

    Raises:
        InputError: no such file, more than MAX_BYTES, no valid YAML, or a key that is unknown, missing,
            of a wrong type or out of range.
    """
    try:
        with open(path, "rb") as file:
            text = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; run from the project's root") from None
    if len(text) > MAX_BYTES:
        raise InputError(f"{path}: more than {MAX_BYTES:,} bytes, which is no parameter file; copy one of presets/")
    try:
        tree = yaml.load(text, _Loader)
    except Exception as error:  # beside YAMLError, constructors of odd scalars raise whatever they meet
        reason = textwrap.shorten(str(error) or type(error).__name__, 300)
        raise InputError(f"{path}: not valid YAML: {reason}") from None
    return _build(Params, tree, "")


def section(kind: Any, values: dict[str, Any], path: str) -> Any:
    """A section of type ``kind`` from plain values, checked as those of a file; errors name ``path``."""
    return _build(kind, values, path)


def flat(params: Params, *paths: str) -> dict[str, Any]:
    """The values under the given dotted paths as ``{"finetune.epochs": 3, ...}``: what a run used."""
    values: dict[str, Any] = {}
    for path in paths:
        node: Any = params
        for key in path.split("."):
            node = _children(node)[key]
        _flatten(node, path, values)
    return values


def _flatten(node: Any, path: str, into: dict[str, Any]) -> None:
    if dataclasses.is_dataclass(node) or isinstance(node, dict):
        for key, value in _children(node).items():
            _flatten(value, f"{path}.{key}", into)
    else:
        into[path] = node


def _children(node: Any) -> dict[str, Any]:
    return node if isinstance(node, dict) else vars(node)


class _Loader(yaml.SafeLoader):
    """YAML 1.2 numbers (3e-4, 1e-05 are floats, which YAML 1.1 reads as text); no duplicate keys.

    Aliases and merge keys (``<<``) work; what they stand for is never written out more than once.
    """

    def __init__(self, stream: bytes):
        super().__init__(stream)
        self._flat: set[yaml.MappingNode] = set()

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        if node in self._flat:
            return
        self._flat.add(node)
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key that is no plain name", key.start_mark)
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key.value!r} twice", key.start_mark)
            seen.add(key.value)
        super().flatten_mapping(node)
        node.value = list({key.value: (key, value) for key, value in node.value}.values())


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
    list("-+.0123456789"),
)


def _build(kind: Any, value: Any, path: str) -> Any:
    """``value`` as an instance of the annotated type ``kind``, or an InputError that names ``path``."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        built = _build(arguments[0], value, path)
        if not arguments[1].holds(built):
            raise _refuse(path, value, str(arguments[1]))
        return built
    if origin is Literal:
        if not any(value == choice and type(value) is type(choice) for choice in arguments):
            raise _refuse(path, value, ", ".join(map(str, arguments)))
        return value
    if origin is tuple:
        if not isinstance(value, list):
            raise _refuse(path, value, "a list")
        return tuple(_build(arguments[0], item, f"{path}[{index}]") for index, item in enumerate(value))
    if origin is dict or dataclasses.is_dataclass(kind):
        if not isinstance(value, dict):
            raise _refuse(path or "params.yaml", value, "a section of keys")
        return _build_section(kind, value, path)
    return _build_scalar(kind, value, path)


def _build_section(kind: Any, section: dict, path: str) -> Any:
    prefix = f"{path}." if path else ""
    if get_origin(kind) is dict:
        for key in section:
            if not (isinstance(key, str) and key.isidentifier()):
                raise _refuse(f"{prefix}{_name(key)}", key, "a name of letters, digits and _ as the key")
        return {key: _build(get_args(kind)[1], value, f"{prefix}{key}") for key, value in section.items()}
    hints = get_type_hints(kind, include_extras=True)
    for key in section:
        if key not in hints:
            raise InputError(f"{prefix}{_name(key)}: got an unknown key, allowed here: {', '.join(hints)}")
    for key in hints:
        if key not in section:
            raise InputError(f"{prefix}{key}: missing; presets/ has complete files to copy it from")
    values = {key: _build(hint, section[key], f"{prefix}{key}") for key, hint in hints.items()}
    try:
        return kind(**values)
    except ValueError as error:
        raise InputError(f"{prefix}{error}") from None


_NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "text (in quotes)"}


def _build_scalar(kind: type, value: Any, path: str) -> Any:
    if kind is float and type(value) is int and abs(value) < 1e300:
        value = float(value)
    if type(value) is not kind or value in (float("inf"), float("-inf")) or value != value:
        raise _refuse(path, value, _NAMES[kind])
    return value


def _refuse(path: str, value: Any, allowed: str) -> InputError:
    return InputError(f"{path}: got {_short(value)}, allowed: {allowed}")


_REPR = reprlib.Repr()
_REPR.maxlevel, _REPR.maxstring, _REPR.maxother = 2, 80, 80


def _short(value: Any) -> str:
    """``repr`` of at most a line, whatever a file holds."""
    try:
        return _REPR.repr(value)
    except ValueError:  # Python writes out no numbers of more than 4300 digits
        return "a number of thousands of digits"


def _name(key: Any) -> str:
    return key if isinstance(key, str) and key.isidentifier() and len(key) <= 80 else _short(key)

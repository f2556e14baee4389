"""Training epochs of the other networks: the pipeline's loop against a plain recipe of the same network."""

import dataclasses
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import nn

from benchmarks.flops import Shares, flops_per_image
from benchmarks.machine import machine, scale, wait
from benchmarks.tables import Table, ratio
from benchmarks.timing import Contestant, race
from hw1.classify import classification
from hw1.classify.classifiers import FinetunedClassifier, build_backbone, build_convnext, feature_width
from hw1.engine.loop import fit
from hw1.engine.recipe import LossOf, Recipe, Run
from hw1.images.batches import Batches
from hw1.run.parameters.params import Training, load
from hw1.run.tracking.tracking import Tracker
from hw1.segment import segmentation
from hw1.segment.segmenters import build_segmenter

PARAMS = load("presets/paper.yaml")


@dataclasses.dataclass(frozen=True)
class Case:
    """A training of the paper preset at one image size; ``large`` takes the smaller batch."""

    build: Callable[[], nn.Module]
    training: Training
    size: int
    masks: bool = False
    large: bool = False

    @property
    def batch_size(self) -> int:
        return scale().large_batch if self.large else scale().batch


def resnet50(frozen: bool) -> nn.Module:
    backbone = build_backbone("resnet50")
    return FinetunedClassifier(backbone, feature_width(backbone), 65, frozen)


def convnext(trainable: str) -> nn.Module:
    params = dataclasses.replace(PARAMS.classify.B, weights="none", trainable=trainable)
    return build_convnext(params, 50)


def segmenter(model: str) -> nn.Module:
    return build_segmenter(dataclasses.replace(getattr(PARAMS.segment, model), weights="none"), 7)


CASES = {
    "ResNet50, full, 128 px": Case(partial(resnet50, False), PARAMS.finetuning("A"), 128),
    "ResNet50, full, 224 px": Case(partial(resnet50, False), PARAMS.finetuning("A"), 224),
    "ResNet50, frozen (D, E), 128 px": Case(partial(resnet50, True), PARAMS.finetuning("A"), 128),
    "ResNet50, frozen (D, E), 224 px": Case(partial(resnet50, True), PARAMS.finetuning("A"), 224),
    "ConvNeXt-Base, frozen but for `printed`, 224 px": Case(
        partial(convnext, "printed"), PARAMS.classify.B, 224, large=True
    ),
    "FCN32s, 256 px": Case(partial(segmenter, "A"), PARAMS.segment.A, 256, masks=True, large=True),
    "FCN32s, 512 px": Case(partial(segmenter, "A"), PARAMS.segment.A, 512, masks=True, large=True),
    "DeepLabv3, 256 px": Case(partial(segmenter, "B"), PARAMS.segment.B, 256, masks=True, large=True),
    "DeepLabv3, 512 px": Case(partial(segmenter, "B"), PARAMS.segment.B, 512, masks=True, large=True),
}


def arrays(case: Case, count: int) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (count, case.size, case.size, 3), np.uint8)
    shape = images.shape[:3] if case.masks else (count,)
    return images, draw.integers(0, 6, shape).astype(np.uint8 if case.masks else np.int64)


def loss_of(case: Case, network: nn.Module, generator: torch.Generator) -> LossOf:
    make = segmentation.segmenter_loss if case.masks else classification.classifier_loss
    return make(network, case.training, generator)


def ours(name: str) -> Contestant:
    """An epoch of the pipeline's loop."""
    case, place = CASES[name], machine()
    count = case.batch_size * scale().batches
    network, generator = place.place(case.build()), torch.Generator().manual_seed(0)
    batches = Batches(*arrays(case, count), case.batch_size, place)
    training = dataclasses.replace(case.training, epochs=1, batch_size=case.batch_size, lr=1e-4)

    def run() -> float:
        recipe = Recipe(network, batches, loss_of(case, network, generator), training, name)
        fit(recipe, Run(place, generator, Tracker(name)))
        return count

    return run


def plain(name: str) -> Contestant:
    """float32, contiguous, the whole network in training mode with gradients; frozen ones are thrown away."""
    case, device = CASES[name], machine("fp32").device
    count = case.batch_size * scale().batches
    network = case.build().to(device)
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    network.requires_grad_(True)
    optimiser = torch.optim.Adam(trained, lr=1e-4, foreach=False)
    generator = torch.Generator().manual_seed(0)
    images, targets = (torch.from_numpy(array) for array in arrays(case, count))
    step = loss_of(case, lambda batch: network(batch.contiguous()), generator)

    def run() -> float:
        for part in torch.randperm(count, generator=generator).split(case.batch_size):
            loss, _ = step(images[part].permute(0, 3, 1, 2).to(device), targets[part].to(device))
            network.zero_grad()
            loss.backward()
            optimiser.step()
            loss.item()
        wait(device)
        return count

    return run


def flops_of(case: Case) -> float:
    network = case.build()
    images, targets = (torch.from_numpy(array) for array in arrays(case, 2))
    losses = loss_of(case, network, torch.Generator())
    return flops_per_image(network, lambda: losses(images.permute(0, 3, 1, 2), targets)[0], images=2)


def epochs(rounds: int) -> list[Table]:
    """Every case against the plain recipe, then what share of a matrix product's FLOP/s each reaches."""
    table = Table(
        "Training epochs, end to end from arrays in memory",
        ("", "batch", "ours, images/s", "plain fp32 recipe, images/s", "ours / plain"),
        note="Plain: float32, contiguous tensors, gradients through frozen parts as well, Adam without fusing.",
    )
    shares = Shares("Training epochs", rounds)
    for name, case in CASES.items():
        speeds = race({"ours": partial(ours, name), "plain": partial(plain, name)}, rounds)
        medians = (f"{speed.median:.2f}" for speed in speeds.values())
        table.add(name, case.batch_size, *medians, ratio(speeds["ours"], speeds["plain"]))
        shares.add(name, flops_of(case), speeds["ours"])
    return [table, shares.table]

"""One training step of every network of the paper preset, at its own batch and image size, on the fake GPU.

``python steps.py [NAME ...]`` prints a JSON object: for each step, in bf16 and fp32, what :func:`measured` says.
"""

import dataclasses
import json
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from counting import ROOT, Counts, counted, who_waits
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.ops import StochasticDepth

from hw1.byol import pretraining
from hw1.byol.byol import Byol
from hw1.classify import classification
from hw1.classify.classifiers import FinetunedClassifier, build_backbone, build_classifier, feature_width
from hw1.data.classes import LAND_COVER
from hw1.engine.loop import fit
from hw1.engine.recipe import Recipe, Row, Run
from hw1.engine.step import build_optimiser
from hw1.engine.synchronised import synchronise
from hw1.images.batches import Batches
from hw1.images.machine import Machine, start
from hw1.images.shares import sharing
from hw1.run.parameters.params import Training, load
from hw1.run.states.copies import Copies
from hw1.run.tracking.tracking import Tracker
from hw1.segment import segmentation
from hw1.segment.segmenters import build_segmenter

PARAMS = load(ROOT / "presets/paper.yaml")
STEPS = 4  # the last of them is counted: by then the allocator has what it needs
GIB = 1 << 30


def blank(
    machine: Machine, training: Training, size: int, classes: int = 0, masks: bool = False, batches: int = STEPS
) -> Batches:
    """Black pictures; the fake GPU looks at none of them."""
    count = batches * training.batch_size
    targets = np.zeros((count, size, size) if masks else count, np.uint8 if masks else np.int64)
    pictures = np.zeros((count, size, size, 3), np.uint8)
    return Batches(pictures, targets if masks or classes else None, training.batch_size, machine)


def byol(machine: Machine, draws: torch.Generator) -> Recipe:
    training, backbone = PARAMS.pretrain.byol, build_backbone(PARAMS.backbone)
    network = machine.place(Byol(backbone, feature_width(backbone), training.hidden, training.projection))
    return pretraining.byol_training(network, blank(machine, training, PARAMS.prepare.mini.crop), training, draws)


def finetune(frozen: bool, machine: Machine, draws: torch.Generator) -> Recipe:
    training, backbone = PARAMS.finetuning("A"), build_backbone(PARAMS.backbone)
    network = machine.place(FinetunedClassifier(backbone, feature_width(backbone), 65, frozen))
    loss_of = classification.classifier_loss(network, training, draws)
    images, validation = (blank(machine, training, PARAMS.prepare.office.crop, 65, batches=n) for n in (STEPS, 3))
    scores = classification.classifier_scores(network, validation, machine, 65)
    return Recipe(network, images, loss_of, training, "x", validate=scores)


def classify(model: str, machine: Machine, draws: torch.Generator) -> Recipe:
    training = getattr(PARAMS.classify, model)
    training = dataclasses.replace(training, weights="none") if model == "B" else training
    network = machine.place(build_classifier(training, 50))
    loss_of = classification.classifier_loss(network, training, draws)
    return Recipe(network, blank(machine, training, PARAMS.prepare.p1.size, 50), loss_of, training, "x")


def segment(model: str, machine: Machine, draws: torch.Generator) -> Recipe:
    training = dataclasses.replace(getattr(PARAMS.segment, model), weights="none")
    network = machine.place(build_segmenter(training, len(LAND_COVER)))
    loss_of, size = segmentation.segmenter_loss(network, training, draws), PARAMS.prepare.p3.size
    validation = blank(machine, training, size, batches=2)
    masks = [np.zeros((size, size), np.uint8)] * len(validation)
    scores = segmentation.segmenter_scores(network, validation, masks, training, machine)
    images = blank(machine, training, size, masks=True)
    return Recipe(network, images, loss_of, training, "x", validate=scores)


CASES: dict[str, Callable[[Machine, torch.Generator], Recipe]] = {
    "byol": byol,
    "finetune full": lambda *place: finetune(False, *place),
    "finetune frozen": lambda *place: finetune(True, *place),
    "classify A": lambda *place: classify("A", *place),
    "classify B": lambda *place: classify("B", *place),
    "segment A": lambda *place: segment("A", *place),
    "segment B": lambda *place: segment("B", *place),
}


def train(case: Recipe, machine: Machine, draws: torch.Generator, after_step: Callable[[int], None]) -> None:
    """One epoch of the loop without its validation; ``after_step`` gets the number of each step done."""

    def after(step: int, steps: int) -> Row:
        row = case.after_step(step, steps)
        after_step(step)
        return row

    training = dataclasses.replace(case.training, epochs=1)
    hooks = {"after_step": after, "after_epoch": lambda row, before: {}, "validate": dict}
    fit(dataclasses.replace(case, training=training, **hooks), Run(machine, draws, Tracker("x")))


def measured(name: str, precision: str, deterministic: bool = False) -> dict[str, Any]:
    """Of the last of STEPS steps, from the batch to the updated weights: what it launches, copies and waits for, the
    largest memory in GiB ("reserved" from the GPU by torch), the TFLOP of its products and convolutions, and the lines
    that wait or copy pageable memory.
    """
    machine = start(dataclasses.replace(PARAMS.runtime, precision=precision, deterministic=deterministic), 1)
    draws = torch.Generator().manual_seed(0)
    case, counts = CASES[name](machine, draws), Counts()
    recording = counted()

    def after_step(step: int) -> None:
        if step == STEPS - 1:
            nonlocal counts
            counts = recording.__enter__()
        elif step == STEPS:
            recording.__exit__(None, None, None)

    torch.cuda.reset_peak_memory_stats()
    train(case, machine, draws, after_step)
    peak, reserved = torch.cuda.max_memory_allocated() / GIB, torch.cuda.max_memory_reserved() / GIB
    images, targets = next(case.batches.in_order())
    case.network.train()

    def forward_and_backward() -> None:
        with machine.autocast(), sharing(len(images)):
            loss, _ = case.loss_of(images, targets)
        loss.backward()

    with FlopCounterMode(display=False) as flops:
        forward_and_backward()
    numbers = ("kernels", "products", "convolutions", "waits", "pageable", "allocations")
    return {name: getattr(counts, name) for name in numbers} | {
        "copies": dict(counts.copies),
        "device_copies_gb": counts.bytes["on the device"] / 1e9,
        "peak_gib": peak,
        "reserved_gib": reserved,
        "tflop": flops.get_total_flops() / 1e12,
        "waiting": dict(who_waits(forward_and_backward)),
        "validation": of_validation(case),
    }


def of_validation(case: Recipe) -> dict[str, Any]:
    if case.validate is dict:
        return {}
    case.validate()  # the first pass allocates
    with counted() as counts:
        case.validate()
    return {"waits": counts.waits, "copies": dict(counts.copies), "waiting": dict(who_waits(case.validate))}


def of_synchronised_layers() -> dict[str, Any]:
    """A pass forward and back of every layer that ranks share a batch in, as the only rank."""
    machine = start(PARAMS.runtime, 1)
    layers = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), StochasticDepth(0.5, "row"), nn.Dropout(0.5)
    network = machine.place(synchronise(nn.Sequential(build_backbone("resnet50"), nn.Linear(2048, 4), *layers[3:])))
    depth = machine.place(synchronise(nn.Sequential(*layers[:3])))
    images = torch.zeros(8, 3, 64, 64, device=machine.device).contiguous(memory_format=torch.channels_last)

    def forward_and_back() -> None:
        with machine.autocast(), sharing(len(images)):
            loss = network(images).float().sum() + depth(images).float().sum()
        loss.backward()

    forward_and_back()
    with counted() as counts:
        forward_and_back()
    gradients = all(p.grad is not None for part in (network, depth) for p in part.parameters())
    return {"waits": counts.waits, "pageable": counts.pageable, "kernels": counts.kernels, "gradients": gradients}


def of_state() -> dict[str, Any]:
    """The second copy of a network's weights and Adam's moments, for a state; the first one gets its memory."""
    machine = start(PARAMS.runtime, 1)
    network = machine.place(build_backbone("resnet18"))
    optimiser = build_optimiser(PARAMS.finetune, network.parameters())
    network(torch.zeros(2, 3, 64, 64, device=machine.device)).sum().backward()
    optimiser.step()
    state, copies = {"network": network.state_dict(), "optimiser": optimiser.state_dict()}, Copies()
    _, ready = copies.take(state)
    ready()
    with counted() as counts:
        copied, _ = copies.take(state)
    weight = copied["network"]["conv1.weight"]
    here = weight.device.type == "cpu" and weight.is_pinned()
    return {"waits": counts.waits, "copies": dict(counts.copies), "pinned": here}


def main(names: list[str]) -> None:
    results: dict[str, dict[str, Any]] = {}
    for name in names or CASES:
        results[name] = {}
        for precision in ("bf16", "fp32"):
            results[name][precision] = measured(name, precision)
            torch.cuda.empty_cache()
    if "byol" in results:
        results["byol, deterministic"] = {"bf16": measured("byol", "bf16", deterministic=True)}
        results["synchronised"] = of_synchronised_layers()
        results["state"] = of_state()
    print(json.dumps(results), file=sys.__stdout__, flush=True)


if __name__ == "__main__":
    sys.stdout = sys.stderr  # the loop's progress
    main(sys.argv[1:])

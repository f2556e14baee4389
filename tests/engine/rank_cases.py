"""Small trainings of every kind, run by each of a number of ranks; test_ranks.py compares what comes out.

``python rank_cases.py FOLDER`` writes ``FOLDER/{world}.{rank}.pt``: of each case the rows and the weights. Each
number of ranks also goes on with one training, where the one before has left it, and breaks off again.
"""

import contextlib
import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torchvision.models import convnext
from trainings import CPU, byol_training, segmenter, supervised

from hw1.byol import pretraining
from hw1.byol.byol import Byol
from hw1.byol.probes import Features
from hw1.classify import classification
from hw1.classify.classifiers import FinetunedClassifier, build_backbone
from hw1.engine.loop import fit
from hw1.engine.recipe import Recipe, Run
from hw1.engine.validation import classify, extract_features
from hw1.images.batches import Batches
from hw1.run.processes.ranks import joined, rank, world
from hw1.run.states.checkpoint import NO_CHECKPOINT, checkpointed
from hw1.run.tracking.tracking import Tracker
from hw1.segment import segmentation
from hw1.segment.segmenters import build_segmenter

COSINE = {"weight_decay": 0.01, "schedule": "cosine"}
RATE, SLOW = 0.01, 0.0005  # slow: untrained deep networks with few images in BatchNorm magnify every rounding
LEGS = {2: 3, 1: 4}  # ranks: the step after which the training that is handed on breaks off; 4 finish it
generator = torch.Generator()


def pictures(count, size):
    return np.random.default_rng(size).integers(0, 256, (count, size, size, 3), np.uint8)


def labelled(count=10, size=16):
    """Batches of 4, 4 and 2 of three classes: of the last one, two of four ranks have nothing."""
    return Batches(pictures(count, size), np.arange(count) % 3, 4, CPU)


def small_backbone():
    layers = nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 8, 3, stride=2), nn.BatchNorm2d(8)
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def classifier(network, augmentation="choice224", size=16, lr=RATE):
    training = supervised(**COSINE, lr=lr, augmentation=augmentation)
    scores = classification.classifier_scores(network, labelled(7, size), CPU, 3)
    loss_of = classification.classifier_loss(network, training, generator)
    return Recipe(network, labelled(size=size), loss_of, training, "x", validate=scores)


def dropout():
    layers = nn.Linear(8, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Dropout(0.4), nn.Linear(12, 3)
    return classifier(nn.Sequential(small_backbone(), *layers), "trivial128")


def convnext_with_depth():
    blocks = [convnext.CNBlockConfig(8, 16, 2), convnext.CNBlockConfig(16, None, 1)]
    network = convnext.ConvNeXt(blocks, stochastic_depth_prob=0.5, num_classes=3)
    return classifier(network, "none")


def resnet(frozen):
    return classifier(smooth(FinetunedClassifier(build_backbone("resnet18"), 512, 3, frozen)), size=64, lr=SLOW)


def smooth(network):
    """The network with SiLU for ReLU and mean for max. The layers that need the whole batch stay as they are.

    A rounding that tips over one ReLU deep in ResNet moves biases by a hundredth; whether one does depends on the CPU.
    """
    for module in list(network.modules()):
        for name, layer in module.named_children():
            if isinstance(layer, nn.ReLU):
                setattr(module, name, nn.SiLU())
            elif isinstance(layer, nn.MaxPool2d):
                setattr(module, name, nn.AvgPool2d(layer.kernel_size, layer.stride, layer.padding))
    return network


def byol():
    network = Byol(small_backbone(), 8, 12, 6)
    training = byol_training(**COSINE, lr=RATE, hidden=12, projection=6)
    halves = labelled(9), labelled(5)
    recipe = pretraining.byol_training(network, Batches(pictures(10, 16), None, 4, CPU), training, generator)

    def watched() -> dict[str, float]:
        seen = Features.extract(network.eval().backbone, halves, CPU)
        return {"knn": seen.knn_accuracy(3), "linear": seen.linear_accuracy(), "rankme": seen.rank()}

    return replace(recipe, validate=watched)


def segmentation_network(name, loss):
    training = segmenter(**COSINE, lr=SLOW, loss=loss, network=name)
    network = build_segmenter(training, 7)
    masks = np.random.default_rng(1).integers(0, 7, (10, 32, 32), np.uint8)
    scores = segmentation.segmenter_scores(
        network, Batches(pictures(7, 32), None, 4, CPU), list(masks[:7]), training, CPU
    )
    loss_of = segmentation.segmenter_loss(network, training, generator)
    return Recipe(network, Batches(pictures(10, 32), masks, 4, CPU), loss_of, training, "x", validate=scores)


CASES = {
    "dropout": dropout,
    "stochastic depth": convnext_with_depth,
    "finetune, full": lambda: resnet(frozen=False),
    "finetune, classifier": lambda: resnet(frozen=True),
    "byol": byol,
    "fcn32s": lambda: segmentation_network("fcn32s_vgg16", "cross_entropy"),
    "deeplabv3": lambda: segmentation_network("deeplabv3_resnet50", "focal"),
}


class BrokenOff(Exception):
    pass


def train(case, checkpoint=NO_CHECKPOINT, until=None):
    torch.manual_seed(0)
    generator.manual_seed(1)
    recipe = case()

    def after_step(step, steps):
        if step == until:
            raise BrokenOff
        return recipe.after_step(step, steps)

    rows = fit(replace(recipe, after_step=after_step), Run(CPU, generator, Tracker("x"), checkpoint))
    return {"rows": rows, "weights": recipe.network.state_dict()}


def hand_on():
    """A leg of the training that each number of ranks goes on with; what comes out after the last."""
    with checkpointed("handed on", {}, [], 1e-9) as checkpoint:
        return train(dropout, checkpoint, LEGS.get(world()))


def validated():
    """What validation sees of eleven images in batches of 4, 4 and 3, with weights that are the same on all ranks."""
    torch.manual_seed(0)
    network = nn.Sequential(small_backbone(), nn.Linear(8, 3))
    seen = classify(network, labelled(11), CPU, 3)
    rows, _ = extract_features(network, network[0], labelled(11), CPU)
    return {"labels": seen.labels, "predictions": seen.predictions, "loss": torch.tensor(seen.loss), "features": rows}


def main(folder):
    results = {name: train(case) for name, case in CASES.items()}
    results |= {"validated": validated(), "tags": CPU.tags}
    with contextlib.suppress(BrokenOff):
        results["handed on"] = hand_on()
    torch.save(results, folder / f"{world()}.{rank()}.pt")


if __name__ == "__main__":
    torch.set_num_threads(1)
    if "RANK" in os.environ:
        with joined():
            main(Path(sys.argv[1]))
    else:
        main(Path(sys.argv[1]))

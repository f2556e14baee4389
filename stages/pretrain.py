"""Pre-train the backbone of problem 2: supervised (by labels, or given) or byol (without labels)."""

import argparse
from pathlib import Path

import torch
from torch import nn

from hw1.data.arrays import GIVEN_WEIGHTS, Manifest
from hw1.errors import run_stage
from hw1.models.byol import Byol
from hw1.models.classifiers import FinetunedClassifier, build_backbone, feature_width
from hw1.models.weights import load_state_dict, load_weights, save_weights
from hw1.params import Params, flat, load
from hw1.runtime import Machine, start
from hw1.train import classification, pretraining
from hw1.train.loop import fit, write_history
from hw1.train.tracking import Tracker


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("method", choices=METHODS)
    parser.add_argument("--data", type=Path, required=True, help="the prepared mini")
    parser.add_argument("--start", type=Path, required=True, help="the weights to start from")
    parser.add_argument("--out", type=Path, required=True, help="the backbone's weights to write")
    parser.add_argument("--history", type=Path, required=True, help="the CSV to write")
    args = parser.parse_args()
    params = load()
    machine = start(params.runtime, params.seed)
    section = f"pretrain.{args.method}"
    backbone = build_backbone(params.backbone)
    with Tracker.start(
        f"pretrain@{args.method}", flat(params, "seed", "runtime", "backbone", section), machine.tags
    ) as tracker:
        if args.method == "supervised" and (args.data / GIVEN_WEIGHTS).is_file():
            load_state_dict(backbone, args.data / GIVEN_WEIGHTS, drop=("fc.",))
            write_history([], classification.TRAIN_COLUMNS, args.history)
        else:
            load_weights(backbone, args.start)
            METHODS[args.method](backbone, params, machine, tracker, args.data, args.history)
        save_weights(backbone, args.out, {"backbone": params.backbone, "trained by": section})
        tracker.log_history(args.history)


def train_supervised(
    backbone: nn.Module, params: Params, machine: Machine, tracker: Tracker, data: Path, history: Path
) -> None:
    training = params.pretrain.supervised
    classes = pretraining.labelled_classes(Manifest.load(data))
    network = machine.place(FinetunedClassifier(backbone, feature_width(backbone), classes, frozen=False))
    train = classification.labelled_batches(data, "train", training.batch_size, machine)
    generator = torch.Generator().manual_seed(params.seed)
    rows = fit(
        network,
        train,
        classification.classifier_loss(network, training, generator),
        section="pretrain.supervised",
        training=training,
        lr=training.lr,
        machine=machine,
        generator=generator,
        tracker=tracker,
    )
    write_history(rows, classification.TRAIN_COLUMNS, history)


def train_byol(
    backbone: nn.Module, params: Params, machine: Machine, tracker: Tracker, data: Path, history: Path
) -> None:
    training = params.pretrain.byol
    network = machine.place(Byol(backbone, feature_width(backbone), training.hidden, training.projection))
    train = pretraining.unlabelled_batches(data, training.batch_size, machine)
    generator = torch.Generator().manual_seed(params.seed)
    rows = fit(
        network,
        train,
        pretraining.byol_loss_of(network, training, generator),
        section="pretrain.byol",
        training=training,
        lr=training.lr,
        machine=machine,
        generator=generator,
        tracker=tracker,
        after_step=pretraining.target_update(network, training),
    )
    write_history(rows, pretraining.COLUMNS, history)


METHODS = {"supervised": train_supervised, "byol": train_byol}

if __name__ == "__main__":
    run_stage(main)

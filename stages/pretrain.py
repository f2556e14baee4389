"""Pre-train the backbone of problem 2: supervised (by labels, or given) or byol (without labels)."""

import argparse
from pathlib import Path

import torch
from torch import nn

from hw1.data.arrays import GIVEN_WEIGHTS, Manifest
from hw1.files import whole_file
from hw1.models.byol import Byol
from hw1.models.classifiers import FinetunedClassifier, build_backbone, feature_width
from hw1.models.weights import load_state_dict, load_weights, save_weights
from hw1.params import Params, flat, load
from hw1.runtime import Machine, start
from hw1.supervision import run_stage
from hw1.train import classification, pretraining
from hw1.train.checkpoint import Checkpoint, checkpointed
from hw1.train.loop import Row, fit, write_history
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
    tags = {**machine.tags, "data": Manifest.load(args.data).origin}
    section = f"pretrain.{args.method}"
    backbone = build_backbone(params.backbone)
    stage, used = f"pretrain@{args.method}", flat(params, "seed", "runtime", "backbone", section)
    with (
        checkpointed(stage, used, [args.data, args.start], params.checkpoint.minutes) as checkpoint,
        whole_file(args.out) as out,
        whole_file(args.history) as history,
        Tracker.start(stage, used, tags) as tracker,
    ):
        train, columns = METHODS[args.method]
        if args.method == "supervised" and (args.data / GIVEN_WEIGHTS).is_file():
            load_state_dict(backbone, args.data / GIVEN_WEIGHTS, drop=("fc.",))
            rows = []
        else:
            load_weights(backbone, args.start)
            rows = train(backbone, params, args.data, machine, tracker, checkpoint)
        save_weights(backbone, out, {"stage": stage, "network": params.backbone, "parameters": used})
        write_history(rows, columns, history)
        tracker.log_history(history)


def train_supervised(
    backbone: nn.Module, params: Params, data: Path, machine: Machine, tracker: Tracker, checkpoint: Checkpoint
) -> list[Row]:
    training = params.pretrain.supervised
    classes = pretraining.labelled_classes(Manifest.load(data))
    network = machine.place(FinetunedClassifier(backbone, feature_width(backbone), classes, frozen=False))
    generator = torch.Generator().manual_seed(params.seed)
    return fit(
        network,
        classification.labelled_batches(data, "train", training.batch_size, machine),
        classification.classifier_loss(network, training, generator),
        section="pretrain.supervised",
        training=training,
        lr=training.lr,
        machine=machine,
        generator=generator,
        tracker=tracker,
        checkpoint=checkpoint,
    )


def train_byol(
    backbone: nn.Module, params: Params, data: Path, machine: Machine, tracker: Tracker, checkpoint: Checkpoint
) -> list[Row]:
    training = params.pretrain.byol
    network = machine.place(Byol(backbone, feature_width(backbone), training.hidden, training.projection))
    generator = torch.Generator().manual_seed(params.seed)
    return fit(
        network,
        pretraining.unlabelled_batches(data, training.batch_size, machine),
        pretraining.byol_loss_of(network, training, generator),
        section="pretrain.byol",
        training=training,
        lr=training.lr,
        machine=machine,
        generator=generator,
        tracker=tracker,
        checkpoint=checkpoint,
        after_step=pretraining.target_update(network, training),
    )


METHODS = {
    "supervised": (train_supervised, classification.TRAIN_COLUMNS),
    "byol": (train_byol, pretraining.COLUMNS),
}

if __name__ == "__main__":
    run_stage(main)

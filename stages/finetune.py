"""Fine-tune one setting of problem 2: its backbone, whole or frozen, under one linear classifier."""

import argparse
from pathlib import Path

import torch

from hw1.classify.classification import COLUMNS, classifier_loss, classifier_scores, labelled_batches
from hw1.classify.classifiers import FinetunedClassifier, build_backbone, feature_width
from hw1.data.arrays import Manifest
from hw1.engine.card import Card, save_model
from hw1.engine.loop import fit, write_history
from hw1.engine.weights import load_weights
from hw1.images.machine import start
from hw1.run.checkpoint import checkpointed
from hw1.run.files import whole_file
from hw1.run.launch import run_training
from hw1.run.params import flat, load
from hw1.run.ranks import by_first
from hw1.run.tracking import Tracker


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("setting", help="a key of params.yaml's settings")
    parser.add_argument("--data", type=Path, required=True, help="the prepared office")
    parser.add_argument("--backbone", type=Path, required=True, help="the weights to start from")
    parser.add_argument("--out", type=Path, required=True, help="the weights to write")
    parser.add_argument("--history", type=Path, required=True, help="the CSV to write")
    args = parser.parse_args()
    params = load()
    setting, training = params.setting(args.setting), params.finetune
    machine = start(params.runtime, params.seed)
    manifest = Manifest.load(args.data)
    classes, tags = manifest.classes, {**machine.tags, "data": manifest.origin}
    backbone = build_backbone(params.backbone)
    load_weights(backbone, args.backbone)
    frozen = setting.train == "classifier"
    network = machine.place(FinetunedClassifier(backbone, feature_width(backbone), classes, frozen), "backbone")
    train, validation = (
        labelled_batches(args.data, split, training.batch_size, machine) for split in ("train", "validation")
    )
    generator = torch.Generator().manual_seed(params.seed)
    stage = f"finetune@{args.setting}"
    used = flat(params, "seed", "lr", "runtime", "backbone", "finetune", f"settings.{args.setting}")
    with (
        checkpointed(stage, used, [args.data, args.backbone], params.checkpoint.minutes) as checkpoint,
        by_first(whole_file, args.out) as out,
        by_first(whole_file, args.history) as history,
        Tracker.start(stage, used, tags) as tracker,
    ):
        rows = fit(
            network,
            train,
            classifier_loss(network, training, generator),
            section="finetune",
            training=training,
            lr=params.lr,
            machine=machine,
            generator=generator,
            tracker=tracker,
            checkpoint=checkpoint,
            validate=classifier_scores(network, validation, machine, classes),
        )
        save_model(network, out, Card.of(stage, training.epochs, manifest, used))
        write_history(rows, COLUMNS, history)
        tracker.log_history(history)


if __name__ == "__main__":
    run_training(main)

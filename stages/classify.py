"""Train a classifier of problem 1: A, the small CNN, or B, ConvNeXt."""

import argparse
from dataclasses import fields
from pathlib import Path

import torch

from hw1.classify.classification import COLUMNS, classifier_loss, classifier_scores, labelled_batches
from hw1.classify.classifiers import build_classifier, input_view
from hw1.data.arrays import Manifest
from hw1.engine.card import Card, snapshots
from hw1.engine.loop import fit, write_history
from hw1.engine.weights import load_tensors, picture_epochs
from hw1.images.machine import start
from hw1.run.checkpoint import checkpointed
from hw1.run.files import whole_file, whole_folder
from hw1.run.launch import run_training
from hw1.run.params import Classify, flat, load
from hw1.run.ranks import by_first
from hw1.run.tracking import Tracker


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", choices=[field.name for field in fields(Classify)])
    parser.add_argument("--data", type=Path, required=True, help="the prepared p1")
    parser.add_argument("--start", type=Path, required=True, help="ImageNet's weights, or an empty file")
    parser.add_argument("--out", type=Path, required=True, help="the folder of weights to write")
    parser.add_argument("--history", type=Path, required=True, help="the CSV to write")
    args = parser.parse_args()
    params = load()
    section = f"classify.{args.model}"
    training = getattr(params.classify, args.model)
    machine = start(params.runtime, params.seed)
    manifest = Manifest.load(args.data)
    classes, tags = manifest.classes, {**machine.tags, "data": manifest.origin}
    network = machine.place(build_classifier(training, classes, load_tensors(args.start)), f"{section}.hidden")
    view = input_view(training)
    train, validation = (
        labelled_batches(args.data, split, training.batch_size, machine) for split in ("train", "validation")
    )
    generator = torch.Generator().manual_seed(params.seed)
    kept = picture_epochs(training.epochs) if args.model == "A" else [training.epochs]  # t-SNE shows A only
    stage, used = f"classify@{args.model}", flat(params, "seed", "runtime", section)
    card = Card.of(stage, training.epochs, manifest, used)
    with (
        checkpointed(stage, used, [args.data, args.start], params.checkpoint.minutes) as checkpoint,
        by_first(whole_folder, args.out) as draft,
        by_first(whole_file, args.history) as history,
        Tracker.start(stage, used, tags) as tracker,
    ):
        checkpoint.include(draft)
        rows = fit(
            network,
            train,
            classifier_loss(network, training, generator, view),
            section=section,
            training=training,
            lr=training.lr,
            machine=machine,
            generator=generator,
            tracker=tracker,
            checkpoint=checkpoint,
            validate=classifier_scores(network, validation, machine, classes, view),
            after_epoch=snapshots(network, draft, card, training.epochs, kept),
        )
        write_history(rows, COLUMNS, history)
        tracker.log_history(history)


if __name__ == "__main__":
    run_training(main)

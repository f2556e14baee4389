"""Train a segmenter of problem 3: A, VGG16-FCN32s, or B, DeepLabv3-ResNet50."""

import argparse
from dataclasses import fields
from pathlib import Path

import torch

from hw1.data.arrays import Manifest, load_masks
from hw1.data.classes import LAND_COVER
from hw1.engine.card import Card, snapshots
from hw1.engine.loop import fit, write_history
from hw1.engine.weights import load_tensors, picture_epochs
from hw1.images.machine import start
from hw1.run.checkpoint import checkpointed
from hw1.run.files import whole_file, whole_folder
from hw1.run.launch import run_training
from hw1.run.params import Segment, flat, load
from hw1.run.ranks import by_first
from hw1.run.tracking import Tracker
from hw1.segment.segmentation import COLUMNS, segmenter_loss, segmenter_scores, tile_batches
from hw1.segment.segmenters import build_segmenter


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", choices=[field.name for field in fields(Segment)])
    parser.add_argument("--data", type=Path, required=True, help="the prepared p3")
    parser.add_argument("--start", type=Path, required=True, help="ImageNet's weights, or an empty file")
    parser.add_argument("--out", type=Path, required=True, help="the folder of weights to write")
    parser.add_argument("--history", type=Path, required=True, help="the CSV to write")
    args = parser.parse_args()
    params = load()
    section = f"segment.{args.model}"
    training = getattr(params.segment, args.model)
    machine = start(params.runtime, params.seed)
    manifest = Manifest.load(args.data)
    tags = {**machine.tags, "data": manifest.origin}
    network = machine.place(build_segmenter(training, len(LAND_COVER), load_tensors(args.start)), f"{section}.width")
    train, validation = (
        tile_batches(args.data, split, training.batch_size, machine) for split in ("train", "validation")
    )
    truth = load_masks(args.data, "validation")
    generator = torch.Generator().manual_seed(params.seed)
    stage, used = f"segment@{args.model}", flat(params, "seed", "runtime", section)
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
            segmenter_loss(network, training, generator),
            section=section,
            training=training,
            lr=training.lr,
            machine=machine,
            generator=generator,
            tracker=tracker,
            checkpoint=checkpoint,
            validate=segmenter_scores(network, validation, truth, training, machine),
            after_epoch=snapshots(network, draft, card, training.epochs, picture_epochs(training.epochs)),
        )
        write_history(rows, COLUMNS, history)
        tracker.log_history(history)


if __name__ == "__main__":
    run_training(main)

"""Pre-train the backbone of problem 2: supervised (by labels, or given) or byol (without labels)."""

import argparse
import json
from pathlib import Path

import torch

from hw1.byol.pretraining import METHODS, WATCHING, Monitor
from hw1.classify.classifiers import build_backbone
from hw1.data.arrays import GIVEN_WEIGHTS, Manifest
from hw1.engine.loop import fit, write_history
from hw1.engine.weights import load_state_dict, load_weights, save_weights
from hw1.images.machine import start
from hw1.run.checkpoint import checkpointed
from hw1.run.files import whole_file
from hw1.run.launch import run_training
from hw1.run.params import flat, load
from hw1.run.ranks import by_first
from hw1.run.tracking import Tracker


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("method", choices=METHODS)
    parser.add_argument("--data", type=Path, required=True, help="the prepared mini")
    parser.add_argument("--probe", type=Path, required=True, help="the prepared office, to look at the features with")
    parser.add_argument("--start", type=Path, required=True, help="the weights to start from")
    parser.add_argument("--out", type=Path, required=True, help="the backbone's weights to write")
    parser.add_argument("--history", type=Path, required=True, help="the CSV to write")
    parser.add_argument("--metrics", type=Path, required=True, help="the JSON of headline numbers to write")
    args = parser.parse_args()
    params, method = load(), METHODS[args.method]
    machine = start(params.runtime, params.seed)
    manifest, tags = Manifest.load(args.data), machine.tags
    backbone = machine.place(build_backbone(params.backbone), "backbone")
    given = args.method == "supervised" and (args.data / GIVEN_WEIGHTS).is_file()
    if given:
        load_state_dict(backbone, args.data / GIVEN_WEIGHTS, drop=("fc.",))
    else:
        load_weights(backbone, args.start)
    stage, section = f"pretrain@{args.method}", f"pretrain.{args.method}"
    used = flat(params, "seed", "runtime", "backbone", "pretrain.knn", section)
    determining = {key: value for key, value in used.items() if not key.startswith(WATCHING)}
    kept = {key: value for key, value in used.items() if not key.endswith("on_collapse")}  # what a state depends on
    inputs = [args.data, args.probe, args.start]
    with (
        checkpointed(stage, kept, inputs, params.checkpoint.minutes) as checkpoint,
        by_first(whole_file, args.out) as out,
        by_first(whole_file, args.history) as history,
        by_first(whole_file, args.metrics) as metrics,
        Tracker.start(stage, used, {**tags, "data": manifest.origin}) as tracker,
    ):
        monitor = Monitor(backbone, args.data, args.probe, params.pretrain.knn, machine)
        rows = []
        if not given:
            generator = torch.Generator().manual_seed(params.seed)
            recipe = method.recipe(backbone, params, args.data, machine, generator)
            rows = fit(
                recipe.network,
                recipe.batches,
                recipe.loss_of,
                section=section,
                training=recipe.training,
                lr=recipe.training.lr,
                machine=machine,
                generator=generator,
                tracker=tracker,
                checkpoint=checkpoint,
                validate=monitor,
                **recipe.hooks,
            )
        save_weights(backbone, out, {"stage": stage, "network": params.backbone, "parameters": determining})
        write_history(rows, (*method.columns, *monitor.columns), history)
        metrics.write_text(json.dumps(monitor.headline(rows), indent=2) + "\n")
        tracker.log_history(history)


if __name__ == "__main__":
    run_training(main)

"""Predict by a trained model: labels of images (p1, p2) or masks of satellite tiles (p3).

Exit status: 0 all is done, 1 it ended early (one line says why), 2 it was called wrongly, 3 all is done but for
the images named.
"""

import argparse
import sys
from pathlib import Path

from hw1.engine.weights import KEPT
from hw1.predict.labels import items_of_folder, items_of_table, predict_labels
from hw1.predict.masks import flaw_of, predict_masks, tiles_in
from hw1.predict.model import PROBLEMS, Predictor, weights_of
from hw1.predict.reading import require_file_place, require_folder_place
from hw1.predict.score import iou_table
from hw1.run.errors import InputError
from hw1.run.processes.supervision import run_stage

SOME_UNREADABLE = 3
TASKS = {problem: task for task, problem in PROBLEMS.items()}


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m hw1.predict", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    problems = parser.add_subparsers(dest="problem", required=True, metavar="p1|p2|p3")
    p1 = problems.add_parser("p1", help="images of a folder to a csv: filename,label")
    p1.add_argument("images", type=Path, help="the folder of images: JPEG, PNG, WebP, BMP or TIFF")
    p1.add_argument("out", type=Path, help="the csv to write")
    p1.add_argument("--model", default="B", choices=["A", "B"], help="A, the small CNN, or B, ConvNeXt (default: B)")
    p2 = problems.add_parser("p2", help="images of a table to a csv: id,filename,label")
    p2.add_argument("table", type=Path, help="a csv with a column filename, with or without id and label")
    p2.add_argument("images", type=Path, help="the folder the file names are in")
    p2.add_argument("out", type=Path, help="the csv to write")
    p2.add_argument("--setting", dest="model", default="C", help="A to E, or another of params.yaml's (default: C)")
    p3 = problems.add_parser("p3", help="tiles {id}_sat of a folder to masks {id}_mask.png")
    p3.add_argument("images", type=Path, help="the folder of tiles")
    p3.add_argument("out", type=Path, help="the folder for the masks")
    p3.add_argument("--model", default="B", choices=["A", "B"], help="A, FCN32s, or B, DeepLabv3 (default: B)")
    p3.add_argument("--window", action="store_true", help="predict in overlapping windows, not the tile made smaller")
    for problem in (p1, p2, p3):
        problem.add_argument("--weights", type=Path, help="a file of weights, in place of the pipeline's")
        problem.add_argument(
            "--keep", default="last", choices=KEPT, help="the epoch whose weights predict (default: last)"
        )
        problem.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
        problem.add_argument("--batch-size", type=int, help="images at a time (default: as in training, at most 256)")
    return parser.parse_args(arguments)


def main() -> None:
    args = parse(sys.argv[1:])
    if args.batch_size is not None and args.batch_size < 1:
        raise InputError(f"--batch-size: got {args.batch_size}, allowed: 1 or more")
    if args.problem == "p3":
        require_folder_place(args.out, args.images)
    else:
        require_file_place(args.out, args.table if args.problem == "p2" else None)
    task = TASKS[args.problem]
    weights = args.weights or weights_of(task, args.model, args.keep)
    predictor = Predictor.load(weights, task, args.device, args.batch_size)
    unscored = 0
    if args.problem == "p3":
        tiles, reading = tiles_in(args.images)
        done = predict_masks(predictor, tiles, args.out, args.window)
        flaw, unscored = flaw_of(done.confusion), done.unscored
        score = iou_table(done.scored, done.confusion) if done.scored and not flaw else ""
        if flaw:
            print(f"no score: {flaw}; are these the right masks?", file=sys.stderr)
    else:
        if args.problem == "p2":
            items, reading = items_of_table(args.table, args.images)
            header = ("id", "filename", "label")
        else:
            items, reading = items_of_folder(args.images)
            header = ("filename", "label")
        done = predict_labels(predictor, items, args.out, header)
        score = done.score
    print(reading.line, file=sys.stderr)
    if score:
        print(score)
    if done.faults:
        print(f"{done.faults} of {done.images} images could not be read; the others are done", file=sys.stderr)
    if unscored:
        print(f"{unscored} true masks could not be used; the score is without them", file=sys.stderr)
    if done.faults or unscored:
        sys.exit(SOME_UNREADABLE)


if __name__ == "__main__":
    run_stage(main)

"""Score the trained models of one problem on its validation split, and leave what the pictures are drawn from."""

import argparse
from pathlib import Path

from hw1.evaluate.problems import PROBLEMS, Sources, save
from hw1.images.machine import start
from hw1.run.launch import run_on_one_device
from hw1.run.params import load


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("problem", choices=PROBLEMS)
    parser.add_argument("--data", type=Path, required=True, help="the prepared part")
    parser.add_argument("--models", type=Path, required=True, help="the folder of weights")
    parser.add_argument("--history", type=Path, required=True, help="the folder of history CSVs")
    parser.add_argument("--metrics", type=Path, required=True, help="the JSON of headline numbers to write")
    parser.add_argument("--predictions", type=Path, required=True, help="the CSV of each image's prediction to write")
    parser.add_argument("--out", type=Path, required=True, help="the folder for pictures' data to write")
    args = parser.parse_args()
    params = load()
    machine = start(params.runtime, params.seed)
    result = PROBLEMS[args.problem](params, machine, Sources(args.data, args.models, args.history))
    save(result, args.metrics, args.predictions, args.out)


if __name__ == "__main__":
    run_on_one_device(main)

"""Score every trained model on its validation split, and leave what the pictures are drawn from."""

import argparse
import json
from pathlib import Path

from hw1.evaluate.problems import Sources, evaluate_p1, evaluate_p2, evaluate_p3, save
from hw1.files import whole_file, whole_folder
from hw1.params import load
from hw1.runtime import start
from hw1.supervision import run_stage


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the folder of prepared parts")
    parser.add_argument("--models", type=Path, required=True, help="the folder of weights")
    parser.add_argument("--history", type=Path, required=True, help="the folder of history CSVs")
    parser.add_argument("--metrics", type=Path, required=True, help="the folder of p1.json, p2.json, p3.json")
    parser.add_argument("--out", type=Path, required=True, help="the folder for pictures' data to write")
    args = parser.parse_args()
    params = load()
    machine = start(params.runtime, params.seed)
    sources = Sources(args.data, args.models, args.history)
    results = [evaluate(params, machine, sources) for evaluate in (evaluate_p1, evaluate_p2, evaluate_p3)]
    with whole_folder(args.out) as draft:
        save(results, sources, draft)
    for result in results:
        with whole_file(args.metrics / f"{result.name}.json") as draft:
            draft.write_text(json.dumps(result.metrics, indent=2) + "\n")


if __name__ == "__main__":
    run_stage(main)

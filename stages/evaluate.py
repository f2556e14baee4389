"""Score the trained models of one problem on its validation split, and leave what the pictures are drawn from."""

from hw1.evaluate.problems import PROBLEMS, Sources, save
from hw1.images.machine import start
from hw1.run.parameters.params import load
from hw1.run.processes.launch import run_on_one_device
from hw1.run.processes.supervision import stage_arguments


def main() -> None:
    args = stage_arguments(
        *(__doc__, "problem", PROBLEMS),
        data="the prepared part",
        models="the folder of weights",
        history="the folder of history CSVs",
        metrics="the JSON of headline numbers to write",
        predictions="the CSV of each image's prediction to write",
        out="the folder for pictures' data to write",
    )
    params = load()
    machine = start(params.runtime, params.seed)
    result = PROBLEMS[args.problem](params, machine, Sources(args.data, args.models, args.history))
    save(result, args.metrics, args.predictions, args.out)


if __name__ == "__main__":
    run_on_one_device(main)

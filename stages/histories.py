"""Copy the histories of the trainings, and what the pre-trainings measured, to where git keeps them."""

import shutil

from hw1.run.files import whole_file, whole_folder
from hw1.run.parameters.params import load
from hw1.run.processes.supervision import run_stage, stage_arguments

METHODS = ("supervised", "byol")
TRAININGS = {"start": ("P1B", "P3A", "P3B"), "pretrain": METHODS, "classify": "AB", "segment": "AB"}


def main() -> None:
    args = stage_arguments(
        __doc__,
        trained="the folder of histories that the trainings wrote",
        history="the folder of CSVs to write",
        metrics="the folder for a JSON of each pre-training's headline numbers",
    )
    with whole_folder(args.history) as draft:
        for kind, models in {**TRAININGS, "finetune": load().settings}.items():
            (draft / kind).mkdir()
            for model in models:
                shutil.copyfile(args.trained / kind / f"{model}.csv", draft / kind / f"{model}.csv")
    for method in METHODS:
        with whole_file(args.metrics / f"{method}.json") as draft:
            shutil.copyfile(args.trained / "pretrain" / f"{method}.json", draft)


if __name__ == "__main__":
    run_stage(main)

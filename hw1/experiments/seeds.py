"""Train every model over several seeds: ``python -m hw1.experiments.seeds 1 2 3 4 5``.

Each seed trains what hangs on it, start weights, backbones, all models, in a copy of the project that is removed
afterwards; the stages of all seeds run side by side as those of ``make repro`` do. The predictions are collected in
plots/seeds, where the next ``dvc repro`` finds them for the page. What was trained before, with these parameters, data
and code, comes from DVC's cache. ``--setting C`` trains one setting alone and only prints its accuracies.
"""

import argparse
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pandas as pd

from hw1.repro.engine import end_on_signals, run, summary
from hw1.repro.graph import Plan, opened, plan
from hw1.repro.worker import default_jobs
from hw1.run.errors import InputError
from hw1.run.files import sole_folder, whole_folder
from hw1.run.parameters.params import load
from hw1.run.processes.supervision import run_stage
from hw1.statistics.comparison import to_frame
from hw1.statistics.intervals import over_seeds
from hw1.statistics.published import MEASURE
from hw1.statistics.replications import SEEDS, read_predictions, seed_table, values_of

TARGET = "evaluate"  # all three problems
PREDICTIONS = "plots/predictions/{}.csv"
COPIES = Path(".dvc/tmp/seeds")
COPIED = (
    *("hw1", "stages", "presets", "dvc.yaml", "dvc.lock", "params.yaml", "environment.json", ".dvcignore"),
    *(".dvc/config", ".dvc/config.local"),
)


@contextmanager
def clones(root: Path, seeds: Iterable[int]) -> Iterator[dict[int, Path]]:
    """Copy the project for each seed, as long as the block lasts: a folder each, its params.yaml with that seed.

    A copy has the code, the parameters and dvc.lock, and shares DVC's cache: what it has in common with the project
    is restored. It needs no git. States of trainings and MLflow's records lie in the project.
    """
    with sole_folder(root / COPIES) as parent:
        with opened(root) as repo:
            cache = repo.cache.local_cache_dir
        try:
            yield {seed: _clone(root, parent / str(seed), seed, cache) for seed in seeds}
        finally:
            shutil.rmtree(parent)


def _clone(root: Path, folder: Path, seed: int, cache: str) -> Path:
    from dvc.utils.serialize import modify_yaml

    (folder / ".dvc").mkdir(parents=True)
    for name in COPIED:
        if (root / name).is_dir():
            shutil.copytree(root / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
        elif (root / name).exists():
            shutil.copy(root / name, folder / name)
    with modify_yaml(str(folder / "params.yaml")) as tree:
        tree["seed"] = seed
    with opened(folder) as repo, repo.config.edit("local") as config:
        config["cache"]["dir"] = cache
        config["core"]["no_scm"] = True
    return folder


def train(folders: Mapping[int, Path], target: str, jobs: int, root: Path) -> None:
    """Do what there is to do for the target, a stage or all of one name, in the copy of each seed.

    Raises:
        InputError: the project itself has something to do for it, or a stage fails.
    """
    if plan(root, [target]).todo:
        raise InputError(f"{target}: not up to date; run `dvc repro` first, then its seed is the first of the seeds")
    plans = [plan(folder, [target], label=f"seed {seed}") for seed, folder in folders.items()]
    needs = {task: needed for planned in plans for task, needed in planned.needs.items()}
    begun = time.monotonic()
    counts = run(Plan(needs, frozenset().union(*(planned.up_to_date for planned in plans))), jobs, root=root)
    print(summary(counts, time.monotonic() - begun))


def collect(folders: Mapping[int, Path], kept: Path) -> dict[int, dict[str, pd.DataFrame]]:
    """Leave each seed's predictions, those of a folder, as ``kept``/{seed}/{problem}.csv, and no others."""
    kept.mkdir(exist_ok=True)
    for path in kept.iterdir():
        if path.name.isdecimal() and int(path.name) not in folders:
            shutil.rmtree(path)
    for seed, folder in folders.items():
        with whole_folder(kept / str(seed)) as draft:
            for name in MEASURE:
                shutil.copyfile(folder / PREDICTIONS.format(name), draft / f"{name}.csv")
    return {seed: read_predictions(kept / str(seed)) for seed in folders}


def accuracies(folders: Mapping[int, Path], setting: str) -> pd.Series:
    """Final validation accuracy of one setting by seed."""
    histories = {seed: folder / f"models/history/finetune/{setting}.csv" for seed, folder in sorted(folders.items())}
    return pd.Series({seed: pd.read_csv(path)["val_accuracy"].iloc[-1] for seed, path in histories.items()})


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m hw1.experiments.seeds",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("seeds", type=int, nargs="+", help="params.yaml's, already trained, counts as one of them")
    parser.add_argument("-j", "--jobs", type=int, help="stages at a time (default: by cores, threads and GPUs)")
    parser.add_argument("--setting", help="train this setting alone")
    args = parser.parse_args()
    params = load()
    others = {*args.seeds} - {params.seed}
    if not others:
        raise InputError(f"seeds: {params.seed} is params.yaml's; give others to compare with")
    if args.setting:
        params.setting(args.setting)
    end_on_signals()
    root = Path().resolve()
    with clones(root, sorted(others)) as folders:
        train(folders, f"finetune@{args.setting}" if args.setting else TARGET, args.jobs or default_jobs(params), root)
        folders[params.seed] = root
        if args.setting:
            _print_setting(args.setting, accuracies(folders, args.setting))
        else:
            by_seed = collect(folders, root / "plots/seeds")
            rows = [row for name in MEASURE for row in seed_table(name, values_of(name, by_seed))]
            print(to_frame(rows, SEEDS).to_string(index=False, float_format="%.4f"))
            print("`dvc repro` puts them on the page")


def _print_setting(setting: str, values: pd.Series) -> None:
    mean = over_seeds(values.to_numpy(), step=1 / len(pd.read_csv(PREDICTIONS.format("p2"))))
    low, high = mean.interval
    print(values.to_string(header=False))
    print(f"setting {setting}: mean {mean.value:.4f}, deviation {values.std():.4f}, 95 % {low:.4f} to {high:.4f}")


if __name__ == "__main__":
    run_stage(main)

"""Train problem 2 over several seeds through DVC's queue: ``python -m hw1.experiments.seeds 1 2 3 4 5``.

Each seed is an experiment of its own, which trains what hangs on the seed: start weights, both backbones, all
settings. Its predictions are collected in plots/seeds, where the next ``dvc repro`` finds them for the page. A seed
that is finished with these parameters, data and code is not trained again. ``--setting C`` trains one setting
alone and only prints its accuracies. The queue also starts what else waits in it.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from hw1.experiments.pipeline import dvc, experiments, git, identity, tasks_in, up_to_date, wait_for
from hw1.run.errors import InputError
from hw1.run.files import whole_file
from hw1.run.params import load
from hw1.run.supervision import run_stage
from hw1.statistics.comparison import SEEDS, seed_table, to_frame
from hw1.statistics.intervals import over_seeds

PREDICTIONS = "plots/predictions/p2.csv"
HISTORY = "plots/history/finetune/{}.csv"


def train(seeds: Sequence[int], target: str, jobs: int) -> dict[int, str]:
    """Git references of the finished experiments, by seed, after training those of ``seeds`` that are missing.

    Each belongs to what is here now: its own lock file says so. The current seed is what ``dvc repro`` left.
    """
    if not up_to_date(target):
        raise InputError(f"{target}: not up to date; run `dvc repro` first, then its seed is the first of the seeds")
    key = identity(Path("dvc.lock").read_text(), target, apart_from="seed")
    missing = {seed: f"seed-{seed}-{key[:10]}" for seed in seeds if seed not in {load().seed, *_finished(target, key)}}
    print(f"{len(seeds) - len(missing)} of {len(seeds)} seeds are there, {len(missing)} to train", file=sys.stderr)
    if missing:
        tasks = tasks_in(dvc("queue", "status"))
        for seed, name in missing.items():
            if tasks.get(name) in ("Queued", "Running"):  # of an earlier call that was stopped
                continue
            if name in tasks:
                dvc("queue", "remove", name)
            dvc("exp", "run", "--queue", "-f", "-n", name, "-S", f"seed={seed}", target)
        dvc("queue", "start", "-j", str(jobs))
        wait_for(missing.values())
    return _finished(target, key)


def _finished(target: str, key: str) -> dict[int, str]:
    """References by seed of the experiments of this command whose parameters, data and code have this identity."""
    found = {}
    for name, reference in experiments().items():
        named = re.fullmatch(rf"seed-(\d+)-{key[:10]}", name)
        if named and identity(git("show", f"{reference}:dvc.lock"), target, apart_from="seed") == key:
            found[int(named[1])] = reference
    return found


def collect(references: dict[int, str], folder: Path) -> dict[int, pd.DataFrame]:
    """Leave each seed's predictions, and the current ones, as ``folder``/{seed}.csv, and no others."""
    texts = {seed: git("show", f"{reference}:{PREDICTIONS}") for seed, reference in references.items()}
    texts[load().seed] = Path(PREDICTIONS).read_text()
    folder.mkdir(exist_ok=True)
    for path in folder.glob("*.csv"):
        if path.stem not in map(str, texts):
            path.unlink()
    for seed, text in texts.items():
        with whole_file(folder / f"{seed}.csv") as draft:
            draft.write_text(text)
    return {seed: pd.read_csv(folder / f"{seed}.csv") for seed in texts}


def accuracies(references: dict[int, str], setting: str) -> pd.Series:
    """Final validation accuracy of one setting by seed."""
    histories = {seed: git("show", f"{reference}:{HISTORY.format(setting)}") for seed, reference in references.items()}
    histories[load().seed] = Path(HISTORY.format(setting)).read_text()
    return pd.Series({seed: float(text.split()[-1].split(",")[-1]) for seed, text in sorted(histories.items())})


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m hw1.experiments.seeds",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("seeds", type=int, nargs="+", help="params.yaml's, already trained, counts as one of them")
    parser.add_argument("--jobs", type=int, default=1, help="experiments at a time (default: 1)")
    parser.add_argument("--setting", help="train this setting alone")
    args = parser.parse_args()
    seeds = sorted({*args.seeds, load().seed})
    if len(seeds) < 2:
        raise InputError(f"seeds: {seeds[0]} is params.yaml's; give others to compare with")
    if args.setting:
        load().setting(args.setting)
        values = accuracies(train(seeds, f"finetune@{args.setting}", args.jobs), args.setting)
        images = len(pd.read_csv(PREDICTIONS))
        mean = over_seeds(values.to_numpy(), step=1 / images)
        low, high = mean.interval
        print(values.to_string(header=False))
        print(
            f"setting {args.setting}: mean {mean.value:.4f}, deviation {values.std():.4f}, 95 % {low:.4f} to {high:.4f}"
        )
        return
    by_seed = collect(train(seeds, "evaluate@p2", args.jobs), Path("plots/seeds"))
    print(to_frame(seed_table(by_seed), SEEDS).to_string(index=False, float_format="%.4f"))
    print("`dvc repro` puts them on the page")


if __name__ == "__main__":
    run_stage(main)

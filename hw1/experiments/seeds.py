"""Train every model over several seeds: ``python -m hw1.experiments.seeds 1 2 3 4 5``.

Each seed is an experiment of its own, which trains what hangs on the seed: start weights, backbones, all models. Its
predictions are collected in plots/seeds, where the next ``dvc repro`` finds them for the page. A seed
that is finished with these parameters, data and code is not trained again. ``--setting C`` trains one setting
alone and only prints its accuracies.

The experiments go through DVC's queue, which also starts what else waits in it. With ``--in-place`` they run here,
one after another and without the queue, by ``dvc exp run --temp``: each in a folder below .dvc/tmp that DVC removes,
so params.yaml, outputs and dvc.lock stay as they are, whether an experiment ends, fails or is stopped by Ctrl-C.
In the workspace itself, ``dvc exp run`` would have to be undone after each of these.
"""

import argparse
import re
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import pandas as pd

from hw1.experiments.pipeline import dvc, finished, follow, head, identity, text_of, up_to_date
from hw1.experiments.queue import known, take_out, wait_for
from hw1.run.errors import InputError
from hw1.run.files import whole_folder
from hw1.run.params import load
from hw1.run.supervision import answer_signals, run_stage
from hw1.statistics.comparison import to_frame
from hw1.statistics.intervals import over_seeds
from hw1.statistics.replications import MEASURE, SEEDS, read_predictions, seed_table, values_of

TARGET = "evaluate"  # all three problems
PREDICTIONS = "plots/predictions/{}.csv"
HISTORY = "models/history/finetune/{}.csv"


def train(seeds: Sequence[int], target: str, run: Callable[[Mapping[int, str], str], None]) -> dict[int, str]:
    """Names of the finished experiments, by seed, after ``run`` has trained those of ``seeds`` that are missing.

    Each belongs to what is here now: its own lock file says so. The current seed is what ``dvc repro`` left.
    """
    if not up_to_date(target):
        raise InputError(f"{target}: not up to date; run `dvc repro` first, then its seed is the first of the seeds")
    key = identity(Path("dvc.lock").read_text(), target, apart_from="seed")
    there = _finished(target, key)
    missing = {seed: f"seed-{seed}-{key[:10]}" for seed in seeds if seed not in {load().seed, *there}}
    print(f"{len(seeds) - len(missing)} of {len(seeds)} seeds are there, {len(missing)} to train", file=sys.stderr)
    if not missing:
        return there
    for name in {*missing.values()}.intersection(finished()):  # `exp run -f` would train the stages they share anew
        dvc("exp", "remove", name)
    run(missing, target)
    return _finished(target, key)


def _finished(target: str, key: str) -> dict[int, str]:
    """Names by seed of the experiments of this command whose parameters, data and code have this identity."""
    found = {}
    for name in finished():
        named = re.fullmatch(rf"seed-(\d+)-{key[:10]}", name)
        if named and identity(text_of("dvc.lock", name), target, apart_from="seed") == key:
            found[int(named[1])] = name
    return found


def in_queue(names: Mapping[int, str], target: str, jobs: int, instead: str) -> None:
    """Train the experiments of these seeds in DVC's queue, ``jobs`` at a time.

    InputError if one fails, or the queue stands still: then it names ``instead``, the command that goes on.
    """
    booked, commits = known(names.values()), {head()}
    for seed, name in names.items():
        if name in booked and booked[name].state in ("queued", "running"):  # of an earlier call that was stopped
            commits.add(booked[name].commit)
            continue
        if name in booked:
            take_out(name, booked[name])
        dvc("exp", "run", "--queue", "-n", name, "-S", f"seed={seed}", target)
    dvc("queue", "start", "-j", str(jobs))
    left = wait_for(names.values(), commits)
    if left:
        raise InputError(f"DVC's queue stands still before {', '.join(sorted(left))}; `{instead}` goes on without it")


def in_place(names: Mapping[int, str], target: str) -> None:
    """Train the experiments of these seeds here, one after another; what the queue has of them leaves it.

    InputError if one fails, or runs in the queue.
    """
    answer_signals("what is finished is kept; the same command goes on from here")
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # a closed terminal would leave dvc behind
        signal.signal(signal.SIGHUP, signal.getsignal(signal.SIGTERM))
    for name, task in known(names.values()).items():
        if task.state == "running":
            raise InputError(f"{name} runs as process {task.process}; `dvc queue kill {name}` ends it, if in the queue")
        take_out(name, task)
    begun = time.monotonic()
    for seed, name in names.items():
        follow("exp", "run", "--temp", "-n", name, "-S", f"seed={seed}", target)
        print(f"{name}: done after {time.monotonic() - begun:.0f} s", file=sys.stderr)


def collect(names: dict[int, str], folder: Path) -> dict[int, dict[str, pd.DataFrame]]:
    """Leave each seed's predictions, and the current ones, as ``folder``/{seed}/{problem}.csv, and no others."""
    texts = {
        seed: {name: text_of(PREDICTIONS.format(name), experiment) for name in MEASURE}
        for seed, experiment in names.items()
    }
    texts[load().seed] = {name: Path(PREDICTIONS.format(name)).read_text() for name in MEASURE}
    folder.mkdir(exist_ok=True)
    for path in folder.iterdir():
        if path.name.isdecimal() and int(path.name) not in texts:
            shutil.rmtree(path)
    for seed, of_problems in texts.items():
        with whole_folder(folder / str(seed)) as draft:
            for name, text in of_problems.items():
                (draft / f"{name}.csv").write_text(text)
    return {seed: read_predictions(folder / str(seed)) for seed in texts}


def accuracies(names: dict[int, str], setting: str) -> pd.Series:
    """Final validation accuracy of one setting by seed."""
    histories = {seed: text_of(HISTORY.format(setting), name) for seed, name in names.items()}
    histories[load().seed] = Path(HISTORY.format(setting)).read_text()
    return pd.Series({seed: float(text.split()[-1].split(",")[-1]) for seed, text in sorted(histories.items())})


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m hw1.experiments.seeds",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("seeds", type=int, nargs="+", help="params.yaml's, already trained, counts as one of them")
    means = parser.add_mutually_exclusive_group()
    means.add_argument("--jobs", type=int, default=1, help="experiments at a time in DVC's queue (default: 1)")
    means.add_argument("--in-place", action="store_true", help="one after another, without the queue")
    parser.add_argument("--setting", help="train this setting alone")
    args = parser.parse_args()
    seeds = sorted({*args.seeds, load().seed})
    if len(seeds) < 2:
        raise InputError(f"seeds: {seeds[0]} is params.yaml's; give others to compare with")
    words = [*map(str, args.seeds), *(["--setting", args.setting] if args.setting else []), "--in-place"]
    instead = shlex.join(["python", "-m", "hw1.experiments.seeds", *words])
    run = in_place if args.in_place else partial(in_queue, jobs=args.jobs, instead=instead)
    if args.setting:
        load().setting(args.setting)
        _print_setting(args.setting, accuracies(train(seeds, f"finetune@{args.setting}", run), args.setting))
    else:
        by_seed = collect(train(seeds, TARGET, run), Path("plots/seeds"))
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

"""Rebuild what changed, several stages at a time: ``python -m hw1.repro [TARGET ...]``, or ``make repro JOBS=N``.

As ``dvc repro``, which runs one stage after another: what is up to date is skipped, what DVC's cache has is restored,
frozen stages stay, and what it leaves, dvc.lock too, is the same. What a stage prints is kept in .dvc/tmp/repro.
"""

import argparse
import time
from pathlib import Path

from hw1.repro.engine import end_on_signals, run, summary
from hw1.repro.graph import plan
from hw1.repro.worker import default_jobs
from hw1.run.errors import InputError
from hw1.run.parameters.params import load
from hw1.run.processes.supervision import run_stage


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m hw1.repro", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("targets", nargs="*", metavar="target", help="stages, such as evaluate@p2; all without any")
    parser.add_argument("-j", "--jobs", type=int, help="stages at a time (default: by cores, threads and GPUs)")
    parser.add_argument("-f", "--force", action="store_true", help="run them even where nothing changed")
    parser.add_argument("-s", "--single-item", action="store_true", help="only the targets, not what they need")
    args = parser.parse_args()
    if args.jobs is not None and args.jobs < 1:
        raise InputError(f"jobs: got {args.jobs}, allowed: 1 or more")
    end_on_signals()
    begun = time.monotonic()
    planned = plan(Path().resolve(), args.targets, args.force, args.single_item)
    counts = run(planned, args.jobs or default_jobs(load()), args.force)
    print(summary(counts, time.monotonic() - begun))


if __name__ == "__main__":
    run_stage(main)

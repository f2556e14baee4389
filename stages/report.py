"""Stage report: put numbers, pictures and answers into one HTML page."""

import argparse
from pathlib import Path

from hw1.report.page import read_inputs, render
from hw1.run.files import whole_file
from hw1.run.params import load
from hw1.run.supervision import run_stage


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("evaluation", "metrics", "statistics", "history", "figures", "archive", "mini", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    args = vars(parser.parse_args())
    out = args.pop("out")
    page = render(read_inputs(load(), **args))
    with whole_file(out) as draft:
        draft.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    run_stage(main)

"""The results table in the terminal: ``python -m hw1.report.summary``.

Needs the standard library only, so that it can run wherever the metrics files are.
"""

import argparse
import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hw1.run.errors import InputError
from hw1.run.processes.supervision import run_stage
from hw1.statistics import published

PROBLEMS = ("p1", "p2", "p3")
MODELS = {"P1 A": "small CNN", "P1 B": "ConvNeXt", "P3 A": "FCN32s", "P3 B": "DeepLabv3"}


@dataclass(frozen=True)
class Headline:
    """One headline number; ``final`` and ``best`` are fractions, ``report`` is in percent, None if not printed."""

    problem: str
    key: str
    measure: str
    final: float
    best: float
    best_epoch: int
    report: float | None

    @property
    def name(self) -> str:
        return f"{self.problem.upper()} {self.key}"


def read_metrics(folder: Path) -> dict[str, dict]:
    """The three metrics files by problem; InputError if one is absent or no JSON."""
    metrics = {}
    for problem in PROBLEMS:
        path = folder / f"{problem}.json"
        try:
            metrics[problem] = json.loads(path.read_text(encoding="utf-8"))
        except OSError:
            raise InputError(f"{path}: not there; run `dvc repro` first") from None
        except ValueError as error:
            raise InputError(f"{path}: no JSON ({error}); run `dvc repro` again") from None
    return metrics


def results(metrics: dict[str, dict]) -> list[Headline]:
    """The headline numbers in the order of the report: P1 A and B, P2 A to E (and more), P3 A and B."""
    rows = []
    printed = {"p1": published.P1_ACCURACY, "p2": published.P2_ACCURACY, "p3": published.P3_MIOU}
    for problem, measure in zip(PROBLEMS, ("accuracy", "accuracy", "miou"), strict=True):
        values = metrics[problem]
        for key, final in values[measure].items():
            best, epoch = values[f"best_{measure}"][key], values["best_epoch"][key]
            rows.append(Headline(problem, key, measure, final, best, int(epoch), printed[problem].get(key)))
    return rows


Intervals = Mapping[tuple[str, str, str], tuple[float, float]]  # by problem, model and measure


def read_intervals(folder: Path) -> Intervals:
    """The 95 % intervals of stage ``compare``; InputError if they are not there."""
    try:
        with open(folder / "intervals.csv", newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except OSError:
        raise InputError(f"{folder}/intervals.csv: not there; run `dvc repro` first") from None
    return {(row["problem"], row["model"], row["measure"]): (float(row["low"]), float(row["high"])) for row in rows}


def table(rows: list[Headline], intervals: Intervals) -> str:
    """The results as aligned plain text, in percent."""
    measures = {"accuracy": "accuracy", "miou": "mean IoU"}
    cells = [("", "", "ours", "95 % interval", "best (epoch)", "the report")]
    for row in rows:
        name = f"{row.name}  {MODELS.get(row.name, 'fine-tuned')}"
        low, high = intervals[row.problem, row.key, row.measure]
        best = f"{100 * row.best:.1f} ({row.best_epoch})"
        report = "-" if row.report is None else f"{row.report:.1f} %"
        final, interval = f"{100 * row.final:.1f} %", f"{100 * low:.1f} to {100 * high:.1f}"
        cells.append((name, measures[row.measure], final, interval, best, report))
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    lines = []
    for line in cells:
        left = [text.ljust(width) for text, width in zip(line[:2], widths[:2], strict=True)]
        right = [text.rjust(width) for text, width in zip(line[2:], widths[2:], strict=True)]
        lines.append("  ".join(left + right))
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="Print the results table.")
    parser.add_argument("--metrics", type=Path, default=Path("metrics"))
    parser.add_argument("--statistics", type=Path, default=Path("plots/statistics"))
    parser.add_argument("--page", default="report/index.html")
    args = parser.parse_args()
    metrics = read_metrics(args.metrics)
    print(table(results(metrics), read_intervals(args.statistics)))
    if any(values["keep"] == "best" for values in metrics.values()):
        print("\nours: the epoch that was best on the same validation images, which flatters it (evaluate.keep)")
    print(f"\npage: {args.page}")


if __name__ == "__main__":
    run_stage(main)

"""The results table in the terminal: ``python -m hw1.report.summary``."""

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hw1.run.errors import InputError
from hw1.run.processes.supervision import run_stage
from hw1.statistics.published import FIGURES, MEASURE

MODELS = {"P1 A": "small CNN", "P1 B": "ConvNeXt", "P3 A": "FCN32s", "P3 B": "DeepLabv3"}
HEADINGS = ("", "", "ours", "95 % interval", "best (epoch)", "the report")


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
    """Read the three metrics files by problem; InputError if one is absent or no JSON."""
    metrics = {}
    for path in (folder / f"{problem}.json" for problem in MEASURE):
        try:
            metrics[path.stem] = json.loads(path.read_text(encoding="utf-8"))
        except OSError:
            raise InputError(f"{path}: not there; run `dvc repro` first") from None
        except ValueError as error:
            raise InputError(f"{path}: no JSON ({error}); run `dvc repro` again") from None
    return metrics


def results(metrics: dict[str, dict]) -> list[Headline]:
    """The headline numbers in the order of the report: P1 A and B, P2 A to E (and more), P3 A and B."""
    rows = []
    for problem, measure in MEASURE.items():
        values = metrics[problem]
        for key, final in values[measure].items():
            best, epoch = values[f"best_{measure}"][key], values["best_epoch"][key]
            rows.append(Headline(problem, key, measure, final, best, int(epoch), FIGURES[problem].get(key)))
    return rows


def table(rows: list[Headline], intervals: Mapping[tuple[str, str, str], tuple[float, float]]) -> str:
    """The results as aligned plain text, in percent."""
    cells = [HEADINGS]
    for row in rows:
        low, high = intervals[row.problem, row.key, row.measure]
        cells.append(
            (
                f"{row.name}  {MODELS.get(row.name, 'fine-tuned')}",
                {"accuracy": "accuracy", "miou": "mean IoU"}[row.measure],
                f"{100 * row.final:.1f} %",
                f"{100 * low:.1f} to {100 * high:.1f}",
                f"{100 * row.best:.1f} ({row.best_epoch})",
                "-" if row.report is None else f"{row.report:.1f} %",
            )
        )
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(
            text.ljust(width) if column < 2 else text.rjust(width)
            for column, (text, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in cells
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Print the results table.")
    parser.add_argument("--metrics", type=Path, default=Path("metrics"))
    parser.add_argument("--statistics", type=Path, default=Path("plots/statistics"))
    parser.add_argument("--page", default="report/index.html")
    args = parser.parse_args()
    from hw1.statistics.evidence import read_intervals  # loads pandas, which the results alone do not need

    metrics = read_metrics(args.metrics)
    print(table(results(metrics), read_intervals(args.statistics)))
    if any(values["keep"] == "best" for values in metrics.values()):
        print("\nours: the epoch that was best on the same validation images, which flatters it (evaluate.keep)")
    print(f"\npage: {args.page}")


if __name__ == "__main__":
    run_stage(main)

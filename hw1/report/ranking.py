"""Models from the best to the worst, with bars over those that are not told apart (after Demšar 2006, JMLR 7)."""

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from pathlib import Path

from hw1.report.canvas import COLOURS, GREY, INK, grid, save
from hw1.statistics.evidence import Statistics, between


def groups(order: Sequence[str], resolved: Callable[[str, str], bool]) -> list[tuple[str, ...]]:
    """The longest runs in ``order`` of two or more models of which no pair is resolved."""
    found: list[tuple[str, ...]] = []
    for start in range(len(order)):
        for end in range(len(order), start + 1, -1):
            run = tuple(order[start:end])
            if not any(resolved(*pair) for pair in combinations(run, 2)):
                if not any(set(run) <= set(other) for other in found):
                    found.append(run)
                break
    return found


def setting_ranking(
    accuracy: Mapping[str, float], statistics: Statistics, captions: Mapping[str, str], images: int, path: Path
) -> None:
    """The settings of problem 2 by their mean over seeds, where there are enough, else by the ``accuracy`` of the one
    training shown.
    """
    pairs, over_seeds = statistics.of_settings()
    if over_seeds:
        rows = [row for row in statistics.seeds if row["problem"] == "p2"]
        numbers = {row["model"]: (row["mean"], row["low"], row["high"]) for row in rows}
        source, among = f"mean of {rows[0]['seeds']} seeds", ""
    else:
        numbers = {key: (value, *statistics.intervals["p2", key, "accuracy"]) for key, value in accuracy.items()}
        source, among = "one training each", " in these weights"
    order = sorted(numbers, key=lambda key: numbers[key][0], reverse=True)
    figure, (axes,) = grid(1, 1, (8.6, 0.62 * len(order) + 1.6))
    for row, key in enumerate(order):
        value, low, high = (100 * number for number in numbers[key])
        axes.plot([low, high], [row, row], color=INK, linewidth=1.2)
        axes.plot([value], [row], "o", color=COLOURS[0], markersize=7)
        axes.annotate(f"{value:.1f}", (value, row), (0, 8), textcoords="offset points", ha="center")
    rightmost = max(100 * high for _, _, high in numbers.values())
    for index, run in enumerate(groups(order, lambda one, two: between(pairs, one, two).resolved)):
        rows, x = [order.index(key) for key in run], rightmost + 2 + 1.6 * index
        axes.plot([x, x], [min(rows) - 0.15, max(rows) + 0.15], color=COLOURS[1], linewidth=5, solid_capstyle="round")
    axes.set_yticks(range(len(order)), [f"{key}  {' '.join(captions[key].split())}" for key in order])
    axes.set_ylim(len(order) - 0.5, -0.7)
    axes.grid(axis="y", visible=False)
    axes.set(title=f"Problem 2: {source}, {images} validation images", xlabel="accuracy (%)")
    axes.text(
        *(0.99, 0.03, f"orange: not told apart{among}; lines: 95 % intervals"),
        **{"transform": axes.transAxes, "ha": "right", "color": GREY},
    )
    save(figure, path)

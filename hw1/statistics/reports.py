"""Seven public reports of the same homework: what each prints, and how they agree.

The report that is rebuilt here and six of other students of the same course and year, all on the course's own data,
read in their public repositories on 2026-11-27. Validation figures in percent: accuracy, mean IoU for P3. None gives
seeds, intervals or a test; most keep the epoch that was best on the validation images; networks and epochs differ.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hw1.statistics import published
from hw1.statistics.intervals import Mean, mcnemar_p


@dataclass(frozen=True)
class Report:
    """One of them: where it lies on github.com, its figures by problem and model, what it says of its settings."""

    address: str
    figures: Mapping[str, Mapping[str, float]]
    stated: str


def _report(address: str, stated: str, *figures: float) -> Report:
    """Figures in the order of the problems and models."""
    p1, p2, p3 = figures[:2], figures[2:7], figures[7:]
    by_problem = {"p1": dict(zip("AB", p1, strict=True)), "p2": dict(zip("ABCDE", p2, strict=True))}
    return Report(address, by_problem | {"p3": dict(zip("AB", p3, strict=True))}, stated)


REPORTS = (
    Report(
        "Lucashien/NTU-2023Fall-DLCV",
        {"p1": published.P1_ACCURACY, "p2": published.P2_ACCURACY, "p3": published.P3_MIOU},
        "the report rebuilt here; BYOL 10 epochs",
    ),
    _report(
        *("mason30114/DLCV", "P1 B ResNet101; BYOL 500 epochs, Adam 1e-4; P3 B DeepLabv3-ResNet101"),
        *(55.5, 87.9, 34.2, 44.1, 48.0, 22.9, 37.7, 62.6, 75.0),
    ),
    _report("ryanchenggg/DLCV-Fall-2023", "not stated", 70.0, 88.4, 40.2, 46.6, 43.1, 34.0, 5.7, 55.3, 75.3),
    _report(
        *("fattho0919/dlcv-fall-2023-homework", "P1 B ResNet18; BYOL batch 100, Adam 1e-4"),
        *(64.6, 86.3, 32.5, 45.1, 43.6, 33.3, 29.8, 45.3, 70.4),
    ),
    _report(
        *(
            "JustinKai0527/ntu_dlcv_2023",
            "P1 B ResNet152 with mixup; BYOL 1,000 epochs, Adam 1e-4; fine-tuning 150 epochs",
        ),
        *(65.2, 89.8, 52.7, 55.3, 55.1, 24.2, 20.8, 60.3, 74.7),
    ),
    _report(
        *("rayshiue/DLCV_2023fall", "P1 B DenseNet121; BYOL 40 epochs, Adam 3e-4 to 3e-5; P3 B DeepLabv3+"),
        *(70.2, 90.3, 38.2, 43.4, 41.4, 33.0, 6.4, 71.6, 73.6),
    ),
    _report(
        *("Garylee188/DLCV_2023_Fall_HW", "P1 A ResNet50, B EfficientNetV2-L; Adam 1e-4"),
        *(29.0, 90.2, 7.1, 27.5, 31.9, 12.3, 21.6, 67.9, 69.4),
    ),
)


@dataclass(frozen=True)
class Agreement:
    """In how many ``reports`` the first model is above the second, the sign test's two-sided p-value, and the mean
    difference in points with its 95 % interval over reports (Student's t).
    """

    above: int
    reports: int
    p: float
    points: float
    low: float
    high: float

    @property
    def text(self) -> str:
        bounds = f"{self.points:+.1f}, {self.low:.1f} to {self.high:.1f}"
        return f"{self.above} of {self.reports} ({bounds}, sign test p = {self.p:.2g})"


def agreement(problem: str, first: str, second: str) -> Agreement:
    """Of two models over all reports."""
    differences = np.array([each.figures[problem][first] - each.figures[problem][second] for each in REPORTS])
    above, count = int((differences > 0).sum()), len(differences)
    mean = Mean(float(differences.mean()), float(differences.std(ddof=1)) / count**0.5, count - 1)
    return Agreement(above, count, mcnemar_p(above, int((differences < 0).sum())), mean.value, *mean.interval)

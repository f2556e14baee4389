"""Small made-up inputs in the shape the plots and report stages read, and how to run the two."""

import json
import os
import re
import shutil
import subprocess
import sys
from argparse import Namespace
from itertools import combinations, product
from pathlib import Path

import numpy as np
import pandas as pd
import recorded

from hw1.data.arrays import Manifest
from hw1.statistics import comparison
from hw1.statistics.claims import COLUMNS
from hw1.statistics.replications import SEED_PAIRS, SEEDS

ROOT = Path(__file__).parents[2]
LAND = ("urban", "agriculture", "rangeland", "forest", "water", "barren")
P2 = {"A": 0.41, "B": 0.60, "C": 0.50, "D": 0.54, "E": 0.34}


def write_inputs(
    root: Path,
    p2: dict[str, float] | None = None,
    classes: int = 10,
    given_weights: bool = False,
    absent_class: str | None = None,
    side: int = 40,
    collapsed: bool = False,
    seeds: int = 0,
    locked: bool = True,
) -> Path:
    """Everything the two stages read, under ``root``, with the settings of ``p2`` in a params.yaml."""
    rng = np.random.default_rng(7)
    p2 = p2 or P2
    evaluation = root / "data/evaluation"
    for folder in ("data/raw", "data/prepared/mini", "metrics", "plots/history", "plots/statistics"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    preset = (ROOT / "presets/quick.yaml").read_text()
    extra = "".join(f"  {key}: {{backbone: byol, train: full}}\n" for key in p2 if key not in P2)
    (root / "params.yaml").write_text(re.sub(r"(?m)^(  E: \{backbone.*\n)", rf"\1{extra}", preset))
    _write_histories(root / "plots/history", list(p2), given_weights)
    _write_metrics(root / "metrics", p2, absent_class, collapsed)
    _write_statistics(root / "plots/statistics", p2, absent_class, seeds)
    for problem, facts in _summaries(classes, list(p2)).items():
        (evaluation / problem).mkdir(parents=True, exist_ok=True)
        (evaluation / problem / "summary.json").write_text(json.dumps(facts))
        size, models = (7 if problem == "p3" else classes), facts["networks"]
        counts = {key: rng.integers(0, 9, (size, size)) + 30 * np.eye(size, dtype=np.int64) for key in models}
        np.savez(evaluation / problem / "confusion.npz", **counts)
        if problem != "p3":
            shown = {f"{key}/{rank}": rng.integers(0, 256, (32, 32, 3), np.uint8) for key in models for rank in (0, 1)}
            np.savez(evaluation / problem / "masks.npz", **shown)
    _projections(rng, classes).to_csv(evaluation / "p1/projections.csv", index=False)
    np.savez(evaluation / "p3/masks.npz", **_masks(rng, side))
    Manifest("synthetic", 32, 32, "bicubic", classes, ["0.jpg"] * 2000, []).save(root / "data/prepared/mini")
    if locked:
        shutil.copy(ROOT / "dvc.lock", root)
    (root / "data/reading").mkdir(parents=True)
    for part in ("p1", "mini", "office", "p3"):
        left = ["left out 2 (hidden, or a system's own): .DS_Store, Thumbs.db"] if part == "p1" else []
        record = {"read": {"pictures to train on": 9}, "left_out": 2 * len(left), "notes": left}
        (root / f"data/reading/{part}.json").write_text(json.dumps(record))
    archive = {"source": "synthetic", "origin": "synthetic", "name": "hw1_data.zip", "sha256": "ab" * 32}
    archive["bytes"] = 12_345_678
    (root / "data/raw/archive.json").write_text(json.dumps(archive))
    return root


def _write_histories(folder: Path, settings: list[str], given_weights: bool) -> None:
    epochs = np.arange(1, 13)
    rise = 1 - np.exp(-epochs / 5)

    def table(**columns) -> pd.DataFrame:
        return pd.DataFrame({"epoch": epochs, "lr": 0.0005} | columns)

    def scored(top: float) -> pd.DataFrame:
        losses = {"train_loss": 2.5 - 2 * rise, "train_accuracy": top * rise}
        return table(**losses, val_loss=2.5 - 1.6 * rise, val_accuracy=0.9 * top * rise)

    tables = {f"classify/{key}": scored(top) for key, top in (("A", 0.6), ("B", 0.95))}
    tables |= {f"finetune/{key}": scored(0.3 + 0.1 * index) for index, key in enumerate(settings)}
    losses = {"train_loss": 1.5 - rise, "val_loss": 1.5 - 0.8 * rise}
    tables |= {f"segment/{key}": table(**losses, val_miou=0.6 * rise) for key in "AB"}
    neighbours = {"knn_office": 0.2 + 0.3 * rise, "linear_office": 0.3 + 0.3 * rise, "rankme": 40 + 60 * rise}
    neighbours |= {} if given_weights else {"knn_mini": 0.1 + 0.2 * rise}
    supervised = table(train_loss=3 - 2 * rise, train_accuracy=0.7 * rise, **neighbours)
    tables["pretrain/supervised"] = supervised.head(0) if given_weights else supervised
    spread = {"projection_std": 0.03 + 0.05 * rise, "gradient_norm": 2 - rise, "spread": 0.3 + 0.5 * rise}
    tables["pretrain/byol"] = table(ema=0.99 + 0.01 * rise, loss=4 - 3 * rise, collapsed=0, **spread, **neighbours)
    rises = {"train_loss": 3 - 2 * rise, "train_accuracy": 0.7 * rise}
    tables |= {f"start/{name}": table(**rises) for name in ("P1B", "P3A", "P3B")}
    for name, rows in tables.items():
        (folder / name).parent.mkdir(exist_ok=True)
        rows.to_csv(folder / f"{name}.csv", index=False)


def _write_metrics(folder: Path, p2: dict[str, float], absent_class: str | None, collapsed: bool) -> None:
    iou = {name: {"A": 0.3 + 0.05 * index, "B": 0.75 - 0.05 * index} for index, name in enumerate(LAND)}
    if absent_class:
        iou[absent_class] = {"A": None, "B": None}
    p1 = {"accuracy": {"A": 0.62, "B": 0.87}, "best_accuracy": {"A": 0.64, "B": 0.88}, "best_epoch": {"A": 9, "B": 7}}
    p1 |= {"keep": "last", "calibration_error": {"A": 0.125, "B": 0.03}}
    best = {"best_accuracy": {key: value + 0.01 for key, value in p2.items()}, "best_epoch": dict.fromkeys(p2, 8)}
    second = {"keep": "last", "calibration_error": dict.fromkeys(p2, 0.07), "accuracy": p2} | best
    third = {"keep": "last", "miou": {"A": 0.425, "B": 0.625}, "iou": iou}
    third |= {"best_miou": {"A": 0.43, "B": 0.63}, "best_epoch": {"A": 11, "B": 12}}
    start = {"knn_office": 0.18, "knn_mini": 0.08, "linear_office": 0.28, "rankme": 41.25}
    start = {f"{name}_at_start": value for name, value in start.items()}
    supervised = {"knn_office": 0.5, "knn_mini": 0.3, "linear_office": 0.55, "rankme": 99.5} | start
    byol = {"knn_office": 0.4, "knn_mini": 0.25, "linear_office": 0.45, "rankme": 80.0} | start
    byol |= {"collapsed": float(collapsed), "collapsed_epochs": 3 * float(collapsed)}
    byol["spread"] = 0.05 if collapsed else 0.8
    for name, metrics in {"p1": p1, "p2": second, "p3": third, "supervised": supervised, "byol": byol}.items():
        (folder / f"{name}.json").write_text(json.dumps(metrics))


def _write_statistics(folder: Path, p2: dict[str, float], absent_class: str | None, seeds: int) -> None:
    """Tables of the statistics: the intervals reach 4 points; differences of more than 8 points are resolved."""
    values = {("p1", "A", "accuracy"): 0.62, ("p1", "B", "accuracy"): 0.87}
    values |= {("p2", key, "accuracy"): value for key, value in p2.items()}
    values |= {("p3", "A", "miou"): 0.425, ("p3", "B", "miou"): 0.625}
    for index, name in enumerate(LAND):
        if name != absent_class:
            values |= {("p3", "A", f"iou.{name}"): 0.3 + 0.05 * index, ("p3", "B", f"iou.{name}"): 0.75 - 0.05 * index}
    intervals = [(*key, value, value - 0.04, value + 0.04, 500, "made up") for key, value in values.items()]
    pd.DataFrame(intervals, columns=comparison.INTERVALS).to_csv(folder / "intervals.csv", index=False)
    pairs = []
    for (problem, first, measure), (_, second, other) in combinations(values, 2):
        if (problem, measure) == (_, other):
            difference = values[problem, first, measure] - values[problem, second, measure]
            p = 0.01 if abs(difference) > 0.08 else 0.4
            spread = (difference - 0.06, difference + 0.06, 48 if problem == "p3" else 406, 9, 9)
            pairs.append((problem, first, second, measure, difference, *spread, p, p, int(p < 0.05), 0.05, 700.0))
    for model, value in (("A", 0.425), ("B", 0.625)):
        gap = value - 0.05
        bounds = (gap, gap - 0.06, gap + 0.06, 48)
        pairs.append(("p3", model, comparison.MAJORITY, "miou", *bounds, 0, 0, 0.01, 0.01, 1, 0.05, 7.0))
    pd.DataFrame(pairs, columns=comparison.PAIRS).to_csv(folder / "pairs.csv", index=False)
    headline = [(*key, value) for key, value in values.items() if "." not in key[2] and seeds]
    of_seeds = [(*names, seeds, value, 0.02, value - 0.03, value + 0.03) for *names, value in headline]
    pd.DataFrame(of_seeds, columns=SEEDS).to_csv(folder / "seeds.csv", index=False)
    seed_pairs = []
    for (problem, first, measure, one), (other, second, _, two) in combinations(headline, 2):
        if problem == other:
            p = 0.02 if abs(one - two) > 0.1 else 0.3
            bounds = (one - two - 0.03, one - two + 0.03)
            numbers = (seeds, 406, one - two, *bounds, 0.01, 0.01, *bounds, p, p, int(p < 0.05))
            outlook = (0.04, 8.0, np.inf, 0.9, 0.7, 0.99, 0.2, 0.5)
            seed_pairs.append((problem, first, second, measure, *numbers, *outlook))
    pd.DataFrame(seed_pairs, columns=SEED_PAIRS).to_csv(folder / "seed_pairs.csv", index=False)
    claims = (
        "p1_b_above_a|p1|B is above A|the same|A 30.7 %, B 90.2 %|holds|7 of 7|B − A +25.0|holds|made up",
        "p2_b_best|p2|B is the best|B above each|A 41 %|not resolved|5 of 7|B − A +1.0|not resolved|made up",
        # Not tried, so without figures.
        "p2_byol_frozen|p2|BYOL helps|B above E|E 34 %|printed, resolved|7 of 7||another setting here|",
        "p3_masks|p3|better|rises|pictures only|untested|pictures only|A: 1, 2|does not hold|made up",
    )
    pd.DataFrame([claim.split("|") for claim in claims], columns=COLUMNS).to_csv(folder / "claims.csv", index=False)


def _summaries(classes: int, settings: list[str]) -> dict[str, dict]:
    ids = ["0013", "0062", "0104"]
    of_classes = {"classes": classes, "chance": 1 / classes}
    p1 = {"training_images": 1500, "validation_images": 500, "features": 29696, "epochs": [1, 6, 12]}
    p2 = {"training_images": 500, "validation_images": 406}
    p3 = {"training_images": 160, "validation_images": 48, "majority_class": "forest", "majority_miou": 0.05}
    p3 |= {"ids": ids, "requested_ids": ids, "epochs": {"A": [1, 6, 12], "B": [1, 6, 12]}}
    parts = {key: "classifier" if key in "DE" else "full" for key in settings}
    networks = {
        "p1": {"A": recorded.small_cnn(classes), "B": recorded.convnext(classes)},
        "p2": {key: recorded.setting(part, classes) for key, part in parts.items()},
        "p3": {"A": recorded.fcn32s(96), "B": recorded.deeplabv3(96)},
    }
    facts = {"p1": p1 | of_classes, "p2": p2 | of_classes, "p3": p3}
    wrong = [{"image": "a.png", "label": 1, "prediction": 0, "confidence": 0.97 - rank / 10} for rank in (0, 1)]
    for problem, models in (("p1", "AB"), ("p2", settings)):
        facts[problem]["reliability"] = {key: [[3, 0.3, 0.25], [9, 0.95, 0.9]] for key in models}
        facts[problem]["mistakes"] = dict.fromkeys(models, wrong)
    for problem, of_problem in networks.items():
        counted = {key: network | {"trained_parameters": 3_820_672} for key, network in of_problem.items()}
        facts[problem]["networks"] = counted
    return facts


def _projections(rng: np.random.Generator, classes: int) -> pd.DataFrame:
    labels, tables = np.arange(40 * classes) % classes, []
    angle = 2 * np.pi * labels / classes
    centres = 6 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    for method, epoch, spread in (("pca", 12, 1.2), ("tsne", 1, 8), ("tsne", 6, 3), ("tsne", 12, 1)):
        x, y = (centres + rng.normal(0, spread, centres.shape)).T
        tables.append(pd.DataFrame({"method": method, "epoch": epoch, "x": x, "y": y, "label": labels}))
    return pd.concat(tables)


def _masks(rng: np.random.Generator, side: int) -> dict[str, np.ndarray]:
    arrays = {}
    for key in ("0013", "0062", "0104"):
        truth = np.kron(rng.integers(0, 7, (5, 5)), np.ones((side // 5, side // 5))).astype(np.uint8)
        arrays[f"truth/{key}"] = truth
        arrays[f"image/{key}"] = rng.integers(0, 256, (side, side, 3), dtype=np.uint8)
        for model, (epoch, wrong) in product("AB", ((1, 0.6), (6, 0.3), (12, 0.1))):
            noise = rng.random(truth.shape) < wrong
            drawn = rng.integers(0, 7, truth.shape, np.uint8)
            arrays[f"{model}/{key}/{epoch}"] = np.where(noise, drawn, truth)
    return arrays


def page_paths(root: Path, figures: Path | None = None) -> Namespace:
    """The options of stage report for the inputs under ``root``."""
    places = {"evaluation": "data/evaluation", "metrics": "metrics", "statistics": "plots/statistics"}
    places |= {"history": "plots/history", "archive": "data/raw/archive.json", "reading": "data/reading"}
    places |= {"mini": "data/prepared/mini", "lock": "dvc.lock"}
    paths = {name: root / place for name, place in places.items()}
    return Namespace(**paths, figures=figures or root / "plots/figures", presets=ROOT / "presets")


def run_stages(root: Path) -> Path:
    """Make pictures and page from the inputs under ``root`` as the pipeline does; returns ``root``."""
    paths = vars(page_paths(root))
    drawn = {name: paths[name] for name in ("evaluation", "history", "metrics", "statistics")}
    stages = {"plots": drawn | {"out": paths["figures"]}, "report": paths | {"out": root / "report/index.html"}}
    for module, options in stages.items():
        arguments = [part for name, path in options.items() for part in (f"--{name}", str(path))]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        subprocess.run([sys.executable, "-m", f"stages.{module}", *arguments], cwd=root, env=environment, check=True)
    return root

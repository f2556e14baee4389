"""Small made-up inputs in the shape the plots and report stages read, and how to run the two."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd

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
) -> Path:
    """Everything the two stages read, under ``root``, with the settings of ``p2`` in a params.yaml."""
    rng = np.random.default_rng(7)
    p2 = p2 or P2
    for folder in ("data/evaluation", "data/raw", "metrics", "plots/history"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    preset = (ROOT / "presets/quick.yaml").read_text()
    extra = "".join(f"  {key}: {{backbone: byol, train: full}}\n" for key in p2 if key not in P2)
    (root / "params.yaml").write_text(re.sub(r"(?m)^(  E: \{backbone.*\n)", rf"\1{extra}", preset))
    _write_histories(root / "plots/history", list(p2), given_weights)
    _write_metrics(root / "metrics", p2, absent_class)
    evaluation = root / "data/evaluation"
    (evaluation / "summary.json").write_text(json.dumps(_summary(classes, given_weights)))
    _projections(rng, classes).to_csv(evaluation / "projections.csv", index=False)
    sizes = {"p1.A": classes, "p1.B": classes, "p3.A": 7, "p3.B": 7} | {f"p2.{key}": classes for key in p2}
    counts = {key: rng.integers(0, 9, (size, size)) + 30 * np.eye(size, dtype=np.int64) for key, size in sizes.items()}
    np.savez(evaluation / "confusion.npz", **counts)
    np.savez(evaluation / "masks.npz", **_masks(rng, side))
    archive = {
        "source": "synthetic",
        "origin": "synthetic",
        "name": "hw1_data.zip",
        "sha256": "ab" * 32,
        "bytes": 12_345_678,
    }
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
    for key in "AB":
        miou = {"val_miou": 0.6 * rise}
        tables[f"segment/{key}"] = table(train_loss=1.5 - rise, val_loss=1.5 - 0.8 * rise, **miou)
    supervised = table(train_loss=3 - 2 * rise, train_accuracy=0.7 * rise)
    tables["pretrain/supervised"] = supervised.head(0) if given_weights else supervised
    tables["pretrain/byol"] = table(ema=0.99 + 0.01 * rise, loss=4 - 3 * rise, projection_std=0.03 + 0.05 * rise)
    for name, rows in tables.items():
        (folder / name).parent.mkdir(exist_ok=True)
        rows.to_csv(folder / f"{name}.csv", index=False)


def _write_metrics(folder: Path, p2: dict[str, float], absent_class: str | None) -> None:
    iou = {name: {"A": 0.3 + 0.05 * index, "B": 0.75 - 0.05 * index} for index, name in enumerate(LAND)}
    if absent_class:
        iou[absent_class] = {"A": None, "B": None}
    p1 = {"accuracy": {"A": 0.62, "B": 0.87}, "best_accuracy": {"A": 0.64, "B": 0.88}, "best_epoch": {"A": 9, "B": 7}}
    second = {
        "accuracy": p2,
        "best_accuracy": {key: value + 0.01 for key, value in p2.items()},
        "best_epoch": dict.fromkeys(p2, 8),
    }
    third = {"miou": {"A": 0.425, "B": 0.625}, "iou": iou}
    third |= {"best_miou": {"A": 0.43, "B": 0.63}, "best_epoch": {"A": 11, "B": 12}}
    for name, metrics in (("p1", p1), ("p2", second), ("p3", third)):
        (folder / f"{name}.json").write_text(json.dumps(metrics))


def _summary(classes: int, given_weights: bool) -> dict:
    ids = ["0013", "0062", "0104"]
    source = "pretrain_model_SL.pt" if given_weights else "mini/train.csv"
    p1 = {"validation_images": 500, "classes": classes, "chance": 1 / classes, "features": 29696, "epochs": [1, 6, 12]}
    p2 = {"validation_images": 406, "classes": classes, "chance": 1 / classes, "supervised_from": source}
    p3 = {"validation_images": 48, "majority_class": "forest", "majority_miou": 0.05, "ids": ids, "requested_ids": ids}
    return {
        "p1": p1,
        "p2": p2,
        "p3": p3 | {"epochs": {"A": [1, 6, 12], "B": [1, 6, 12]}},
        "trained_images": {"p1": 1500, "mini": 2000, "office": 500, "p3": 160},
        "parameters": {"p1.A": 3820672, "p1.B": 3550000},
    }


def _projections(rng: np.random.Generator, classes: int) -> pd.DataFrame:
    labels = np.arange(40 * classes) % classes
    tables = []
    for method, epoch, spread in (("pca", 12, 1.2), ("tsne", 1, 8), ("tsne", 6, 3), ("tsne", 12, 1)):
        angle = 2 * np.pi * labels / classes
        centres = 6 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        x, y = (centres + rng.normal(0, spread, centres.shape)).T
        tables.append(pd.DataFrame({"method": method, "epoch": epoch, "x": x, "y": y, "label": labels}))
    return pd.concat(tables)


def _masks(rng: np.random.Generator, side: int) -> dict[str, np.ndarray]:
    arrays = {}
    for key in ("0013", "0062", "0104"):
        truth = np.kron(rng.integers(0, 7, (5, 5)), np.ones((side // 5, side // 5))).astype(np.uint8)
        arrays[f"truth/{key}"] = truth
        arrays[f"image/{key}"] = rng.integers(0, 256, (side, side, 3), dtype=np.uint8)
        for model in "AB":
            for epoch, wrong in ((1, 0.6), (6, 0.3), (12, 0.1)):
                noise = rng.random(truth.shape) < wrong
                arrays[f"{model}/{key}/{epoch}"] = np.where(noise, rng.integers(0, 7, truth.shape), truth).astype(
                    np.uint8
                )
    return arrays


def run(root: Path, module: str, **arguments: str) -> None:
    """Run a stage in ``root`` as the pipeline does."""
    options = [part for name, value in arguments.items() for part in (f"--{name}", value)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-m", module, *options], cwd=root, env=environment, check=True)


def run_stages(root: Path) -> Path:
    """Pictures and page from the inputs under ``root``; returns ``root``."""
    common = {"evaluation": "data/evaluation", "metrics": "metrics"}
    run(root, "stages.plots", **common, history="plots/history", out="plots/figures")
    page = {"figures": "plots/figures", "download": "data/raw/archive.json", "out": "report/index.html"}
    run(root, "stages.report", **common, **page)
    return root

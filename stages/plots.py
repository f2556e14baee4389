"""Stage plots: draw every picture of the report from histories, evaluation and metrics."""

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd

from hw1.data.classes import LAND_COVER
from hw1.files import whole_folder
from hw1.params import Params, load
from hw1.report import curves, figures, networks
from hw1.report.names import LOSSES, model_names
from hw1.report.pictures import pictures_by_history
from hw1.supervision import run_stage
from hw1.train.tracking import Tracker


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("evaluation", "history", "metrics", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    args = parser.parse_args()
    params = load()
    summary = json.loads((args.evaluation / "summary.json").read_text())
    metrics = {problem: json.loads((args.metrics / f"{problem}.json").read_text()) for problem in ("p1", "p2", "p3")}
    with whole_folder(args.out) as out:
        networks.draw_networks(params, summary["p1"]["classes"], summary["p2"]["classes"], out)
        draw_curves(params, args.history, out)
        draw_results(params, summary, metrics, args.evaluation, out)
    with Tracker("plots") as tracker:
        for history, pictures in pictures_by_history(params, args.history, args.out).items():
            tracker.log_pictures(history, pictures)


def draw_curves(params: Params, folder: Path, out: Path) -> None:
    def histories(stage: str, keys) -> dict[str, pd.DataFrame]:
        return {key: pd.read_csv(folder / stage / f"{key}.csv") for key in keys}

    names = model_names(params)
    curves.classification_curves(histories("classify", "AB"), names["p1"], out / "p1_curves.png")
    pretraining = histories("pretrain", ("supervised", "byol"))
    curves.pretraining_curves(
        **pretraining, projection=params.pretrain.byol.projection, path=out / "p2_pretraining.png"
    )
    curves.finetuning_curves(histories("finetune", params.settings), out / "p2_curves.png")
    losses = {key: LOSSES[getattr(params.segment, key).loss] for key in "AB"}
    curves.segmentation_curves(histories("segment", "AB"), names["p3"], losses, out / "p3_curves.png")


def draw_results(params: Params, summary: dict, metrics: dict, evaluation: Path, out: Path) -> None:
    p2, p3, names = summary["p2"], summary["p3"], model_names(params)
    points = pd.read_csv(evaluation / "projections.csv")
    figures.pca_scatter(points[points["method"] == "pca"], out / "p1_pca.png")
    figures.tsne_scatter(points[points["method"] == "tsne"], out / "p1_tsne.png")
    figures.setting_bars(
        metrics["p2"]["accuracy"], names["p2"], p2["validation_images"], p2["chance"], out / "p2_bars.png"
    )
    majority = (p3["majority_class"], p3["majority_miou"])
    figures.iou_bars(metrics["p3"]["iou"], metrics["p3"]["miou"], names["p3"], majority, out / "p3_iou_bars.png")
    with np.load(evaluation / "confusion.npz") as counts:
        for problem, classes in (("p1", None), ("p2", None), ("p3", LAND_COVER)):
            matrices = {key: counts[f"{problem}.{key}"] for key in names[problem]}
            titles = names[problem] if problem != "p2" else {key: f"Setting {key}" for key in names["p2"]}
            path = out / f"{problem}_confusion.png"
            figures.confusion_matrices(matrices, titles, classes, f"Problem {problem[1]}: confusion", path)
    with np.load(evaluation / "masks.npz") as masks:
        images, truths = ({key: masks[f"{kind}/{key}"] for key in p3["ids"]} for kind in ("image", "truth"))
        for model in "AB":
            cells = {(key, e): masks[f"{model}/{key}/{e}"] for key in p3["ids"] for e in p3["epochs"][model]}
            title = f"Problem 3, model {names['p3'][model]}: predicted masks"
            figures.mask_table(images, truths, cells, title, out / f"p3_masks_{model.lower()}.png")


if __name__ == "__main__":
    run_stage(main)

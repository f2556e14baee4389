"""Draw every picture of the report from histories, evaluation and metrics."""

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from hw1.data.classes import LAND_COVER
from hw1.report import curves, figures, networks
from hw1.report.names import LOSSES, model_titles
from hw1.report.settings import pretrained
from hw1.run.files import whole_folder
from hw1.run.parameters.params import Params, load
from hw1.run.processes.supervision import run_stage, stage_arguments
from hw1.run.tracking.tracking import Tracker
from hw1.statistics.evidence import Statistics


def main() -> None:
    args = stage_arguments(
        __doc__,
        evaluation="the folder of the evaluations",
        history="the folder of history CSVs",
        metrics="the folder of headline numbers",
        statistics="the folder of intervals and comparisons",
        out="the folder of pictures to write",
    )
    params = load()
    problems = ("p1", "p2", "p3")
    summary = {name: json.loads((args.evaluation / name / "summary.json").read_text()) for name in problems}
    measured = (*problems, "supervised", "byol")
    metrics = {name: json.loads((args.metrics / f"{name}.json").read_text()) for name in measured}
    with whole_folder(args.out) as out:
        networks.draw_networks(params, summary, out)
        draw_curves(params, args.history, metrics, out)
        draw_results(params, summary, metrics, Statistics.read(args.statistics), args.evaluation, out)
    with Tracker("plots") as tracker:
        for history, pictures in curves.pictures_by_history(params, args.history, args.out).items():
            tracker.log_pictures(history, pictures)


def draw_curves(params: Params, folder: Path, metrics: dict, out: Path) -> None:
    def histories(stage: str, keys: Iterable[str]) -> dict[str, pd.DataFrame]:
        return {key: pd.read_csv(folder / stage / f"{key}.csv") for key in keys}

    names = model_titles(params)
    started = {
        f"{task.upper()}{key}": f"{task.upper()} {name}" for task in ("p1", "p3") for key, name in names[task].items()
    }
    curves.start_curves(histories("start", pretrained(params)), started, out / "start_curves.png")
    curves.classification_curves(histories("classify", "AB"), names["p1"], out / "p1_curves.png")
    starts = {"supervised": metrics["supervised"], "BYOL": metrics["byol"]}
    projection, path = params.pretrain.byol.projection, out / "p2_pretraining.png"
    curves.pretraining_curves(
        **histories("pretrain", ("supervised", "byol")), starts=starts, projection=projection, path=path
    )
    curves.finetuning_curves(histories("finetune", params.settings), out / "p2_curves.png")
    losses = {key: LOSSES[getattr(params.segment, key).loss] for key in "AB"}
    curves.segmentation_curves(histories("segment", "AB"), names["p3"], losses, out / "p3_curves.png")


def draw_results(
    params: Params, summary: dict, metrics: dict, statistics: Statistics, evaluation: Path, out: Path
) -> None:
    p2, p3, names = summary["p2"], summary["p3"], model_titles(params)
    points = pd.read_csv(evaluation / "p1/projections.csv")
    figures.pca_scatter(points[points["method"] == "pca"], out / "p1_pca.png")
    figures.tsne_scatter(points[points["method"] == "tsne"], out / "p1_tsne.png")
    accuracy, images = metrics["p2"]["accuracy"], p2["validation_images"]
    figures.setting_bars(accuracy, statistics, names["p2"], p2, out / "p2_bars.png")
    figures.setting_ranking(accuracy, statistics, names["p2"], images, out / "p2_ranking.png")
    figures.iou_bars(metrics["p3"], statistics, names["p3"], p3, out / "p3_iou_bars.png")
    for problem, classes in (("p1", None), ("p2", None), ("p3", LAND_COVER)):
        with np.load(evaluation / problem / "confusion.npz") as counts:
            matrices = {key: counts[key] for key in names[problem]}
        titles = names[problem] if problem != "p2" else {key: f"Setting {key}" for key in names["p2"]}
        path = out / f"{problem}_confusion.png"
        figures.confusion_matrices(matrices, titles, classes, f"Problem {problem[1]}: confusion", path)
        if problem != "p3":
            draw_answers(problem, summary[problem], titles, evaluation, out)
    with np.load(evaluation / "p3/masks.npz") as masks:
        images, truths = ({key: masks[f"{kind}/{key}"] for key in p3["ids"]} for kind in ("image", "truth"))
        for model in "AB":
            cells = {(key, e): masks[f"{model}/{key}/{e}"] for key in p3["ids"] for e in p3["epochs"][model]}
            title = f"Problem 3, model {names['p3'][model]}: predicted masks"
            figures.mask_table(images, truths, cells, title, out / f"p3_masks_{model.lower()}.png")


def draw_answers(problem: str, facts: dict, titles: dict[str, str], evaluation: Path, out: Path) -> None:
    """Draw how sure the classifiers of a problem are, and what they were wrong about while they were surest."""
    title, answers = f"Problem {problem[1]}: ", facts["mistakes"]
    reliability = out / f"{problem}_reliability.png"
    figures.reliability(facts["reliability"], titles, f"{title}confidence and how often it is right", reliability)
    with np.load(evaluation / problem / "masks.npz") as arrays:
        wrong = {key: [arrays[f"{key}/{rank}"] for rank in range(len(cells))] for key, cells in answers.items()}
    mistakes = out / f"{problem}_mistakes.png"
    figures.mistakes(wrong, answers, titles, f"{title}the surest mistakes, predicted and true class", mistakes)


if __name__ == "__main__":
    run_stage(main)

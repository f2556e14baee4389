"""The page: one HTML file that holds its own style and pictures and asks nothing of the network."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from hw1.params import Params
from hw1.report import discussion, published, summary
from hw1.report.names import NAMES, START, TRAINED
from hw1.report.settings import choices, settings_tables


@dataclass(frozen=True)
class Inputs:
    """What the page is made of: parameters, the evaluation's summary and projections, metrics by problem,
    the archive's record, and the folder of the pictures."""

    params: Params
    summary: Mapping[str, Any]
    metrics: dict[str, dict]
    projections: pd.DataFrame
    archive: Mapping[str, Any]
    figures: Path


def read_inputs(params: Params, evaluation: Path, metrics: Path, figures: Path, archive: Path) -> Inputs:
    return Inputs(
        params=params,
        summary=json.loads((evaluation / "summary.json").read_text(encoding="utf-8")),
        metrics=summary.read_metrics(metrics),
        projections=pd.read_csv(evaluation / "projections.csv"),
        archive=json.loads(archive.read_text(encoding="utf-8")),
        figures=figures,
    )


def render(inputs: Inputs) -> str:
    """The whole page as text."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = lambda share: "none" if share is None else f"{100 * share:.1f}"
    template = environment.get_template("page.html.j2")
    return template.render(
        params=inputs.params,
        summary=inputs.summary,
        archive=inputs.archive,
        picture=lambda name: data_uri(inputs.figures / f"{name}.png"),
        names=NAMES,
        starts=START,
        trained=TRAINED,
        parts=data_parts(inputs.summary),
        as_course=all(part["same"] for part in data_parts(inputs.summary)),
        rows=result_rows(inputs),
        settings=settings_tables(inputs.params),
        choices=choices(inputs.params, inputs.summary["p2"]["supervised_from"], inputs.summary["p1"]["classes"]),
        **_statements(inputs),
    )


def data_uri(path: Path) -> str:
    """A PNG file as a data: address."""
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"


def data_parts(facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Images of each part of the data beside the course's; ``same`` if the counts are equal."""
    validation = {"p1": facts["p1"], "office": facts["p2"], "p3": facts["p3"]}
    titles = {"p1": "P1", "mini": "P2, pre-training", "office": "P2, fine-tuning", "p3": "P3, tiles"}
    parts = []
    for part, title in titles.items():
        here = {"train": facts["trained_images"][part]}
        if part in validation:
            here["validation"] = validation[part]["validation_images"]
            here["classes"] = validation[part].get("classes", 7)
        course = published.COURSE_DATA[part]
        parts.append({"title": title, "here": here, "course": course, "same": here == course})
    return parts


def result_rows(inputs: Inputs) -> list[dict[str, Any]]:
    """The results table: every number with its interval, its best epoch, the report's and the course's."""
    rows = []
    for result in summary.results(inputs.metrics):
        images = inputs.summary[result.problem]["validation_images"]
        simple, strong = published.COURSE_THRESHOLDS.get(result.name, (None, None))
        rows.append(
            {
                "name": result.name,
                "key": result.key,
                "problem": result.problem,
                "model": _model_name(inputs.params, result.problem, result.key),
                "final": result.final,
                "interval": discussion.percent_interval(result.final, images) if result.measure == "accuracy" else "",
                "best": result.best,
                "epoch": result.best_epoch,
                "report": result.report,
                "course": f"{simple} / {strong}" if simple else "",
                "parameters": inputs.summary.get("parameters", {}).get(f"{result.problem}.{result.key}"),
            }
        )
    return rows


def _model_name(params: Params, problem: str, key: str) -> str:
    if problem == "p1":
        return "small CNN" if key == "A" else NAMES[params.classify.B.network]
    if problem == "p3":
        return NAMES[getattr(params.segment, key).network]
    setting = params.setting(key)
    return f"{START[setting.backbone]} start, {TRAINED[setting.train]}"


def _statements(inputs: Inputs) -> dict[str, Any]:
    """Everything on the page that is computed from the numbers and could read otherwise tomorrow."""
    params, facts, metrics = inputs.params, inputs.summary, inputs.metrics
    accuracy, p2, p3 = metrics["p2"]["accuracy"], facts["p2"], facts["p3"]
    projections = discussion.projection_rows(inputs.projections)
    return {
        "classifier_sentence": discussion.classifier_sentence(
            metrics["p1"]["accuracy"], facts["p1"]["validation_images"]
        ),
        "projections": projections,
        "tsne_sentence": discussion.tsne_sentence(projections),
        "ranking": discussion.ranking_sentences(params.settings, accuracy, p2["validation_images"], p2["chance"]),
        "themes": discussion.setting_sentences(params.settings, accuracy, p2["validation_images"]),
        "pairs": discussion.compare_all(accuracy, p2["validation_images"]),
        "report_pairs": discussion.compare_published(),
        "p_text": discussion.p_text,
        "changed": [key for key in params.settings if not discussion.as_published(key, params.settings[key])],
        "segmentation": discussion.segmentation_sentences(
            metrics["p3"], p3["majority_class"], p3["majority_miou"], p3["validation_images"]
        ),
        "iou": metrics["p3"]["iou"],
        "miou": metrics["p3"]["miou"],
        "report_miou": published.P3_MIOU,
    }

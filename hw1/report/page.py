"""The page: one HTML file that holds its own style and pictures and asks nothing of the network."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from hw1.data.arrays import GIVEN_WEIGHTS, Manifest
from hw1.data.classes import LAND_COVER
from hw1.report import discussion, summary
from hw1.report.choices import choices
from hw1.report.evidence import Statistics, published_settings
from hw1.report.names import KEPT, NAMES, START, TRAINED
from hw1.report.provenance import Provenance
from hw1.report.settings import fc1_inputs, pretrained, settings_tables
from hw1.run.parameters.params import Params
from hw1.statistics import published
from hw1.statistics.reports import REPORTS

PARTS = {"p1": "P1", "mini": "P2, pre-training", "office": "P2, fine-tuning", "p3": "P3, tiles"}


@dataclass(frozen=True)
class Inputs:
    """What the page is made of: parameters, the evaluation's summaries and metrics by problem, pre-training's metrics
    by method, the statistics, the points of P1's projections, the archive's record, what was read of each part,
    how many images mini has, whether the supervised backbone was given, the folder of the pictures, and where all of it
    comes from."""

    params: Params
    summary: Mapping[str, Any]
    metrics: dict[str, dict]
    pretraining: dict[str, dict]
    statistics: Statistics
    projections: pd.DataFrame
    archive: Mapping[str, Any]
    readings: Mapping[str, dict]
    mini_images: int
    given: bool
    figures: Path
    provenance: Provenance


@dataclass(frozen=True)
class Paths:
    """Where the inputs lie: folders, but for the ``archive``'s record, a JSON file, and DVC's ``lock``; ``mini`` is the
    prepared part.
    """

    evaluation: Path
    metrics: Path
    statistics: Path
    history: Path
    figures: Path
    archive: Path
    reading: Path
    mini: Path
    lock: Path
    presets: Path


def read_inputs(params: Params, paths: Paths) -> Inputs:
    return Inputs(
        params=params,
        summary={problem: _json(paths.evaluation / problem / "summary.json") for problem in summary.PROBLEMS},
        metrics=summary.read_metrics(paths.metrics),
        pretraining={method: _json(paths.metrics / f"{method}.json") for method in ("supervised", "byol")},
        statistics=Statistics.read(paths.statistics),
        projections=pd.read_csv(paths.evaluation / "p1/projections.csv"),
        archive=_json(paths.archive),
        readings={part: _json(paths.reading / f"{part}.json") for part in PARTS},
        mini_images=len(Manifest.load(paths.mini).train),
        given=pd.read_csv(paths.history / "pretrain/supervised.csv").empty,  # there was nothing to train
        figures=paths.figures,
        provenance=Provenance.read(params, paths.lock, paths.presets),
    )


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


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
    parts = data_parts(inputs)
    fc1 = fc1_inputs(inputs.summary["p1"]["networks"]["A"])
    return environment.get_template("page.html.j2").render(
        params=inputs.params,
        summary=inputs.summary,
        archive=inputs.archive,
        provenance=inputs.provenance,
        picture=lambda name: data_uri(inputs.figures / f"{name}.png"),
        names=NAMES,
        starts=START,
        trained=TRAINED,
        parts=parts,
        as_course=all(part["same"] for part in parts),
        mini_images=inputs.mini_images,
        calibration_error={problem: inputs.metrics[problem]["calibration_error"] for problem in ("p1", "p2")},
        own_recipes=[key for key, setting in inputs.params.settings.items() if setting.meaning[2:]],
        kept=KEPT[inputs.params.evaluate.keep],
        given_weights=GIVEN_WEIGHTS if inputs.given else "",
        rows=result_rows(inputs),
        pretrained=pretrained(inputs.params),
        settings=settings_tables(inputs.params, fc1),
        choices=choices(inputs.params, fc1, inputs.summary["p1"]["classes"], inputs.given),
        **_statements(inputs),
    )


def data_uri(path: Path) -> str:
    """A PNG file as a data: address."""
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"


def data_parts(inputs: Inputs) -> list[dict[str, Any]]:
    """Images of each part of the data beside the course's, and what was left out; ``same`` if the counts are equal."""
    parts = []
    for part, title in PARTS.items():
        if part == "mini":
            here = {"train": inputs.mini_images}
        else:
            facts = inputs.summary["p2" if part == "office" else part]
            here = {"train": facts["training_images"], "validation": facts["validation_images"]}
            here["classes"] = facts.get("classes", len(LAND_COVER))
        course = published.COURSE_DATA[part]
        reading = inputs.readings[part]
        told = {"left_out": reading["left_out"], "notes": reading["notes"]}
        parts.append({"title": title, "here": here, "course": course, "same": here == course} | told)
    return parts


def result_rows(inputs: Inputs) -> list[dict[str, Any]]:
    """The results table: every number with its interval, its best epoch, the report's and the course's."""
    rows = []
    for result in summary.results(inputs.metrics):
        low, high = inputs.statistics.intervals[result.problem, result.key, result.measure]
        simple, strong = published.COURSE_THRESHOLDS.get(result.name, (None, None))
        rows.append(
            {
                "name": result.name,
                "key": result.key,
                "problem": result.problem,
                "model": _model_name(inputs.params, result.problem, result.key),
                "final": result.final,
                "interval": f"{100 * low:.1f} to {100 * high:.1f}",
                "best": result.best,
                "epoch": result.best_epoch,
                "report": result.report,
                "course": f"{simple} / {strong}" if simple else "",
                "parameters": inputs.summary[result.problem]["networks"][result.key]["trained_parameters"],
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
    params, facts, metrics, statistics = inputs.params, inputs.summary, inputs.metrics, inputs.statistics
    p2, p3 = facts["p2"], facts["p3"]
    projections = discussion.projection_rows(inputs.projections)
    return {
        "classifier_sentence": discussion.classifier_sentence(statistics.pairs["p1", "accuracy"]),
        "projections": projections,
        "tsne_sentence": discussion.tsne_sentence(projections),
        "byol": inputs.pretraining["byol"],
        "feature_rows": discussion.feature_rows(inputs.pretraining["byol"], inputs.pretraining["supervised"]),
        "byol_sentence": discussion.byol_sentence(
            inputs.pretraining["byol"], p2["validation_images"], params.pretrain.byol.epochs
        ),
        "ranking": discussion.ranking_sentences(params.settings, metrics["p2"]["accuracy"], statistics, p2["chance"]),
        "themes": discussion.setting_sentences(params.settings, statistics),
        "claims": statistics.claims,
        "set_up_sentence": discussion.set_up_sentence(statistics.claims),
        "seven": REPORTS,
        "report_images": published.COURSE_DATA["office"]["validation"],
        "count_text": discussion.count_text,
        "pairs": statistics.pairs.get(("p2", "accuracy"), {}),
        "seeds": statistics.seeds,
        "seed_pairs": statistics.seed_pairs,
        "report_pairs": published_settings(),
        "p_text": discussion.p_text,
        "interval_text": discussion.interval_text,
        "changed": [key for key in params.settings if not discussion.as_published(key, params.settings[key])],
        "segmentation": discussion.segmentation_sentences(
            metrics["p3"], statistics, p3["majority_class"], p3["majority_miou"]
        ),
        "iou": metrics["p3"]["iou"],
        "miou": metrics["p3"]["miou"],
        "iou_intervals": {key[1:]: interval for key, interval in statistics.intervals.items() if key[0] == "p3"},
        "report_miou": published.P3_MIOU,
    }

"""The page: one HTML file that holds its own style and pictures and asks nothing of the network."""

import base64
import json
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from hw1.data.arrays import GIVEN_WEIGHTS, Manifest
from hw1.data.classes import LAND_COVER
from hw1.report import discussion, names, summary
from hw1.report.provenance import Provenance
from hw1.report.settings import pretrained, settings_tables, stored
from hw1.run.parameters.params import Params
from hw1.statistics import published
from hw1.statistics.evidence import Statistics, compare_published

PARTS = {"p1": "P1", "mini": "P2, pre-training", "office": "P2, fine-tuning", "p3": "P3, tiles"}


def read_inputs(params: Params, paths: Namespace) -> dict[str, Any]:
    """Read what the page is made of, by the template's names; ``paths`` are the options of stage report."""
    evaluation = {problem: _json(paths.evaluation / problem / "summary.json") for problem in published.MEASURE}
    readings = {part: _json(paths.reading / f"{part}.json") for part in PARTS}
    return {
        "params": params,
        "summary": evaluation,
        "metrics": summary.read_metrics(paths.metrics),
        "supervised": _json(paths.metrics / "supervised.json"),
        "byol": _json(paths.metrics / "byol.json"),
        "statistics": Statistics.read(paths.statistics),
        "projections": discussion.projection_rows(pd.read_csv(paths.evaluation / "p1/projections.csv")),
        "archive": _json(paths.archive),
        "parts": _data_parts(evaluation, readings, len(Manifest.load(paths.mini).train)),
        # Without a row there was nothing to train.
        "given_weights": GIVEN_WEIGHTS if pd.read_csv(paths.history / "pretrain/supervised.csv").empty else "",
        "picture": lambda name: data_uri(paths.figures / f"{name}.png"),
        "provenance": Provenance.read(params, paths.lock, paths.presets),
    }


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def data_uri(path: Path) -> str:
    """A PNG file as a data: address."""
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"


def _data_parts(
    evaluation: Mapping[str, Any], readings: Mapping[str, Any], mini_images: int
) -> dict[str, dict[str, Any]]:
    """Images of each part of the data beside the course's, and what was left out of it."""
    parts = {}
    for part, title in PARTS.items():
        facts = evaluation.get("p2" if part == "office" else part, {"training_images": mini_images})
        counts = {"train": facts["training_images"]}
        if part != "mini":
            counts |= {"validation": facts["validation_images"], "classes": facts.get("classes", len(LAND_COVER))}
        course = published.COURSE_DATA[part]
        parts[part] = {"title": title, "here": counts, "course": course, "same": counts == course, **readings[part]}
    return parts


def render(inputs: Mapping[str, Any], template: str = "page.html.j2") -> str:
    """Fill the template: the page, or a part of it."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = lambda share: "none" if share is None else f"{100 * share:.1f}"
    params, small_cnn = inputs["params"], inputs["summary"]["p1"]["networks"]["A"]
    fc1 = next(part["input"][0] for part in small_cnn["parts"] if part["kind"] == "Linear")
    return environment.get_template(template).render(
        **inputs,
        discussion=discussion,
        names=names,
        model_names=names.model_names(params),
        kept=names.KEPT[params.evaluate.keep],
        rows=summary.results(inputs["metrics"]),
        fc1=fc1,
        settings=settings_tables(params, fc1),
        pretrained=pretrained(params),
        own_recipes={key: ", ".join(map(str, rest)) for key, s in params.settings.items() if (rest := s.meaning[2:])},
        changed=[key for key, setting in params.settings.items() if not discussion.as_published(key, setting)],
        report_pairs=compare_published("p2"),
        stored=stored,
        published=published,
        byol_tables=published.BYOL_TABLES,
    )

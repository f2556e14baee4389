"""A trained network as a folder for the Hugging Face hub: ``model.safetensors``, ``config.json``, ``README.md``."""

import csv
import json
import shutil
from pathlib import Path

from hw1.archive.archive import EQUIVALENT, SYNTHETIC
from hw1.engine.card import Card
from hw1.evaluate.trained import load_model
from hw1.predict.model import PROBLEMS, weights_of
from hw1.predict.reading import require_new_folder
from hw1.report.names import NAMES
from hw1.run.errors import InputError
from hw1.run.files import dvc_hash, whole_folder
from hw1.run.lockfile import LockedStage, stages_of
from hw1.run.parameters.yaml_reader import yaml_text

ORIGINS = {
    SYNTHETIC: "The project drew its training pictures itself: what it says of photographs means nothing.",
    EQUIVALENT: "It was trained on photographs of public data sets, chosen by the project's own rules.",
}
GIVEN = "It was trained on an archive given to the project; whoever publishes it must add whose pictures these are."
COMMANDS = {"p1": "p1 images/ labels.csv", "p2": "p2 images.csv images/ labels.csv", "p3": "p3 tiles/ masks/"}
README = """---
{front}---

# {name}

{network} of the stage `{card.stage}`, after epoch {card.epoch}: problem {problem} of NTU's "Deep Learning for Computer
Vision", Fall 2023, homework 1, as the project hw1 rebuilds a report on it.

{result}

{origin} Made to check a published report, not for use in earnest; nor, if its pictures are of land, for decisions
about land. The weights are under the MIT licence; the data sets keep the terms of their owners.

With the project, from its root: `python -m hw1.predict {command} --weights model.safetensors`, or

```python
from pathlib import Path
from hw1.evaluate.trained import load_model
network = load_model(Path("model.safetensors"))[0].eval()
```

| parameter | |
|---|---|
{parameters}
"""


def export_folder(weights: Path, out: Path) -> tuple[Card, str]:
    """Write the folder; the card of the weights, and a line on their result.

    Raises:
        InputError: no trained network, or something lies at ``out``.
    """
    require_new_folder(out)
    _, card = load_model(weights)
    result = measured_of(weights, card)
    with whole_folder(out) as draft:
        shutil.copyfile(weights, draft / "model.safetensors")
        (draft / "config.json").write_text(json.dumps(card.metadata(), indent=2) + "\n", encoding="utf-8")
        (draft / "README.md").write_text(model_card(card, result), encoding="utf-8")
    return card, _line(result)


def model_card(card: Card, result: dict[str, str] | None) -> str:
    """README.md: front matter for the hub, origin, result, limits and loading."""
    name, problem = f"hw1-{card.stage.replace('@', '-')}", PROBLEMS[card.task]
    task = "image-segmentation" if card.task == "segment" else "image-classification"
    front = {"license": "mit", "library_name": "hw1", "pipeline_tag": task, "tags": ["pytorch", "safetensors", "hw1"]}
    if result:
        measured = {"type": result["measure"], "value": round(float(result["value"]), 4)}
        data = {"type": "hw1", "name": card.origin, "split": "validation"}
        entry = {"task": {"type": task}, "dataset": data, "metrics": [measured]}
        front["model-index"] = [{"name": name, "results": [entry]}]
    return README.format(
        front=yaml_text(front),
        name=name,
        network=NAMES.get(card.network, "Small CNN"),
        card=card,
        problem=problem[1],
        result=_line(result),
        origin=ORIGINS.get(card.origin, GIVEN),
        command=COMMANDS[problem],
        parameters="\n".join(f"| `{key}` | {value} |" for key, value in sorted(card.parameters.items())),
    )


def _line(result: dict[str, str] | None) -> str:
    if result is None:
        return "No result of exactly these weights is at hand."
    value, low, high = (f"{100 * float(result[name]):.1f}" for name in ("value", "low", "high"))
    interval = f"95 % interval {low} to {high} ({result['method']})"
    return f"{result['measure']} {value} %, {interval}, on {result['images']} validation images."


def measured_of(weights: Path, card: Card) -> dict[str, str] | None:
    """The result of these very weights, from the project in the current folder; None where it has none of them.

    Taken only where the files here are those of one chain in ``dvc.lock``: weights, predictions, intervals.
    """
    problem = PROBLEMS[card.task]
    try:
        stages = stages_of(Path("dvc.lock").read_bytes(), "dvc.lock")
        evaluate, compare = stages[f"evaluate@{problem}"], stages["compare"]
        kept = weights_of(card.task, card.model, evaluate.declared["params.yaml", "evaluate.keep"])
    except (OSError, InputError, KeyError):  # no lock file of this pipeline, or none of a whole run
        return None
    same = kept.is_file() and dvc_hash(kept) == dvc_hash(weights)
    if not (
        same
        and _is_of_now(evaluate, f"models/{card.task}", f"plots/predictions/{problem}.csv")
        and _is_of_now(compare, "plots/predictions", "plots/statistics")
    ):
        return None
    with open("plots/statistics/intervals.csv", newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        own = [row for row in rows if (row["problem"], row["model"]) == (problem, card.model)]
    return next((row for row in own if row["measure"] in ("accuracy", "miou")), None)


def _is_of_now(stage: LockedStage, *paths: str) -> bool:
    """Tell whether the stage read or wrote the paths as they are now."""
    known = {**stage.reads, **stage.writes}
    return all(Path(path).exists() and known.get(path) == dvc_hash(Path(path)) for path in paths)

"""How MLflow's page shows the runs: which, in what order, with which columns, kept in the experiment as shared views.

MLflow's "Share" button keeps such views as tags of the experiment, in plain JSON or packed; an address that ends in
``?viewStateShareKey=NAME`` opens one."""

import json

WHERE = ("attributes.`Source`", "attributes.`Version`", "attributes.`User`")
TRAININGS = (
    *("attributes.`Dataset`", "attributes.`Models`", "metrics.`val_accuracy`", "metrics.`val_miou`"),
    *("metrics.`knn_office`", "metrics.`seconds`", "tags.`device`", *WHERE, "attributes.`Description`"),
)
MODELS = {"p1/accuracy": "AB", "p2/accuracy": "ABCDE", "p3/miou": "AB"}
REPROS = (*(f"metrics.`{measure}/{model}`" for measure, models in MODELS.items() for model in models), *WHERE)


def _view(tag: str, by: str, columns: tuple[str, ...]) -> str:
    """The runs that have a tag, in the order ``by``, the largest first."""
    order = {"orderByKey": by, "orderByAsc": False}
    return json.dumps({"searchFilter": f"tags.`{tag}` LIKE '%'", **order, "selectedColumns": columns})


# What an address calls each view, and what it shows; the tags are hw1.run.mlflow_store's. Sorted by time MLflow would
# fold trainings into their `dvc repro`; the names of their files of events begin with it.
VIEWS = {
    "trainings": _view("hw1.events", "tags.`hw1.events`", TRAININGS),
    "repros": _view("hw1.repro", "attributes.start_time", REPROS),
}
TAGS = {f"mlflow.sharedViewState.{name}": view for name, view in VIEWS.items()}

"""The evaluation of the three problems: headline metrics, and what pictures and page are made from.

Networks are built and fed as the card in their weights' file says, so what is scored is what the file holds.
"""

import csv
import json
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from hw1.data.arrays import GIVEN_WEIGHTS, Manifest, load_array, load_masks
from hw1.data.batches import Batches
from hw1.data.classes import LAND_COVER
from hw1.evaluate import embeddings
from hw1.evaluate.metrics import accuracy, best, iou, majority_confusion, mean_iou
from hw1.evaluate.validation import classify, features, most_likely, segment, tile_scores
from hw1.models.card import Card, read_card
from hw1.models.losses import segment_loss
from hw1.models.trained import load_model, view_of
from hw1.models.weights import FINAL, picture_epochs, snapshot_file
from hw1.params import Params
from hw1.runtime import Machine

MODELS = ("A", "B")  # of problems 1 and 3


@dataclass(frozen=True)
class Sources:
    """Folders the evaluation reads: prepared parts, weights, histories."""

    data: Path
    models: Path
    histories: Path


@dataclass
class Result:
    """One problem: ``metrics`` are the headline numbers, the rest is for pictures and page.

    ``confusions`` (K, K+1) int64 by model; ``arrays`` are pictures and masks by name; ``projections``
    rows of method, epoch, x, y, label.
    """

    name: str
    metrics: dict[str, Any]
    summary: dict[str, Any]
    confusions: dict[str, Tensor]
    parameters: dict[str, int]
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    projections: list[tuple] = field(default_factory=list)


def evaluate_p1(params: Params, machine: Machine, sources: Sources) -> Result:
    """Accuracy of A and B; PCA and t-SNE of A's second-last layer at three epochs."""
    data, models = sources.data / "p1", sources.models / "classify"
    manifest = Manifest.load(data)
    confusions, parameters = {}, {}
    for model in MODELS:
        weights = models / model / FINAL
        confusions[model], parameters[model] = _classified(weights, data, machine)
    projections, width = _projections(params, machine, data, models / "A")
    epochs = [epoch for method, epoch in dict.fromkeys(row[:2] for row in projections) if method == "tsne"]
    summary = {**_summary(manifest), "features": width, "epochs": epochs}
    metrics = {"data": manifest.origin, **_accuracies(confusions, sources.histories / "classify")}
    return Result("p1", metrics, summary, confusions, parameters, projections=projections)


def evaluate_p2(params: Params, machine: Machine, sources: Sources) -> Result:
    """Accuracy of every setting in params.yaml, in its order."""
    data = sources.data / "office"
    manifest = Manifest.load(data)
    confusions, parameters = {}, {}
    for setting in params.settings:
        weights = sources.models / "finetune" / f"{setting}.safetensors"
        confusions[setting], parameters[setting] = _classified(weights, data, machine)
    given = (sources.data / "mini" / GIVEN_WEIGHTS).is_file()
    summary = {**_summary(manifest), "supervised_from": GIVEN_WEIGHTS if given else "mini/train.csv"}
    metrics = {"data": manifest.origin, **_accuracies(confusions, sources.histories / "finetune")}
    return Result("p2", metrics, summary, confusions, parameters)


def evaluate_p3(params: Params, machine: Machine, sources: Sources) -> Result:
    """mIoU and IoUs of A and B; masks of a few tiles at three epochs."""
    data, models = sources.data / "p3", sources.models / "segment"
    manifest, truth = Manifest.load(data), load_masks(data, "validation")
    images = load_array(data, "validation_images")
    shown = _shown_tiles(manifest.validation, params.evaluate.mask_ids)
    arrays = {}
    for index in shown:
        arrays[f"image/{manifest.validation[index]}"] = images[index]
        arrays[f"truth/{manifest.validation[index]}"] = truth[index]
    confusions, parameters, epochs = {}, {}, {}
    for model in MODELS:
        epochs[model] = []
        for network, card in _snapshots(models / model, machine):
            masks = _predicted(network, images, truth, shown, card, machine)
            names = [f"{model}/{manifest.validation[index]}/{card.epoch}" for index in shown]
            arrays.update(zip(names, masks, strict=True))
            epochs[model].append(card.epoch)
        batches = Batches(images, None, card.training.batch_size, machine)
        _, confusions[model] = segment(network, batches, truth, machine, segment_loss(card.training))
        parameters[model] = _trained_parameters(network)
    majority = majority_confusion(confusions["A"])
    summary = {
        "validation_images": len(truth),
        "majority_class": LAND_COVER[int(majority.sum(0).argmax())],
        "majority_miou": mean_iou(majority),
        "ids": [manifest.validation[index] for index in shown],
        "requested_ids": list(params.evaluate.mask_ids),
        "epochs": epochs,
    }
    metrics = {"data": manifest.origin, **_ious(confusions, sources.histories / "segment")}
    return Result("p3", metrics, summary, confusions, parameters, arrays=arrays)


def save(results: Sequence[Result], sources: Sources, folder: Path) -> None:
    """Write summary.json, confusion.npz, masks.npz and projections.csv into ``folder``."""
    summary: dict[str, Any] = {result.name: result.summary for result in results}
    summary["trained_images"] = {
        part: len(Manifest.load(sources.data / part).train) for part in ("p1", "mini", "office", "p3")
    }
    summary["parameters"] = {
        f"{result.name}.{model}": count for result in results for model, count in result.parameters.items()
    }
    (folder / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    # The last column, predictions that are no class, is not part of a drawn confusion matrix.
    confusions = {
        f"{r.name}.{model}": counts[:, :-1].numpy() for r in results for model, counts in r.confusions.items()
    }
    _save_npz(folder / "confusion.npz", confusions)
    _save_npz(folder / "masks.npz", {name: array for r in results for name, array in r.arrays.items()})
    with open(folder / "projections.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("method", "epoch", "x", "y", "label"))
        writer.writerows(row for result in results for row in result.projections)


def _save_npz(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """What ``np.load`` reads, without the time of writing that ``np.savez`` puts in: equal arrays, equal bytes."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy")
            entry.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(entry, "w") as member:
                np.lib.format.write_array(member, np.ascontiguousarray(array))


def _load(weights: Path, machine: Machine) -> tuple[nn.Module, Card]:
    network, card = load_model(weights)
    return machine.place(network), card


def _snapshots(folder: Path, machine: Machine) -> Iterator[tuple[nn.Module, Card]]:
    """The network after the first, the middle and the last epoch of a training."""
    epochs = read_card(folder / FINAL).epoch
    return (_load(snapshot_file(folder, epoch, epochs), machine) for epoch in picture_epochs(epochs))


def _classified(weights: Path, data: Path, machine: Machine) -> tuple[Tensor, int]:
    """Confusion counts of a classifier on the validation split, and the number of its trained parameters."""
    network, card = _load(weights, machine)
    _, confusion = classify(network, _labelled(data, card, machine), machine, card.classes, view_of(card))
    return confusion, _trained_parameters(network)


def _labelled(data: Path, card: Card, machine: Machine) -> Batches:
    images, labels = load_array(data, "validation_images"), load_array(data, "validation_labels")
    return Batches(images, labels, card.training.batch_size, machine)


def _trained_parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def _summary(manifest: Manifest) -> dict[str, Any]:
    return {
        "validation_images": len(manifest.validation),
        "classes": manifest.classes,
        "chance": 1 / manifest.classes,
    }


def _history(path: Path) -> list[dict[str, float]]:
    with open(path, newline="") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def _best(models: Sequence[str], histories: Path, column: str) -> tuple[dict[str, float], dict[str, int]]:
    pairs = {model: best(_history(histories / f"{model}.csv"), column) for model in models}
    return {model: value for model, (value, _) in pairs.items()}, {model: epoch for model, (_, epoch) in pairs.items()}


def _accuracies(confusions: dict[str, Tensor], histories: Path) -> dict[str, Any]:
    values, epochs = _best(list(confusions), histories, "val_accuracy")
    final = {model: round(accuracy(confusion), 6) for model, confusion in confusions.items()}
    return {"accuracy": final, "best_accuracy": values, "best_epoch": epochs}


def _ious(confusions: dict[str, Tensor], histories: Path) -> dict[str, Any]:
    values, epochs = _best(list(confusions), histories, "val_miou")
    ious = {
        name: {model: _rounded(iou(confusion)[index]) for model, confusion in confusions.items()}
        for index, name in enumerate(LAND_COVER[:-1])
    }
    miou = {model: _rounded(mean_iou(confusion)) for model, confusion in confusions.items()}
    return {"miou": miou, "iou": ious, "best_miou": values, "best_epoch": epochs}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def _projections(params: Params, machine: Machine, data: Path, models: Path) -> tuple[list[tuple], int]:
    """Rows of projections.csv, t-SNE of each epoch and PCA of the last, and the number of features they show."""
    labels = load_array(data, "validation_labels")
    rows: list[tuple] = []

    def add(method: str, epoch: int, plane: np.ndarray) -> None:
        rows.extend((method, epoch, f"{x:.5g}", f"{y:.5g}", label) for (x, y), label in zip(plane, labels, strict=True))

    for network, card in _snapshots(models, machine):
        points = features(network, _labelled(data, card, machine), machine)
        add("tsne", card.epoch, embeddings.tsne(points, params.evaluate.tsne_perplexity, params.seed))
    add("pca", card.epoch, embeddings.pca(points))
    return rows, points.shape[1]


def _shown_tiles(names: Sequence[str], wanted: Sequence[str]) -> list[int]:
    """Positions of the wanted tiles; the first other tiles of the set stand in for absent ones."""
    present = [names.index(name) for name in wanted if name in names]
    others = [index for index in range(len(names)) if index not in present]
    return present + others[: len(wanted) - len(present)]


def _predicted(
    network: nn.Module,
    images: np.ndarray,
    truth: Sequence[np.ndarray],
    shown: Sequence[int],
    card: Card,
    machine: Machine,
) -> list[np.ndarray]:
    batches = Batches(images[shown], None, card.training.batch_size, machine)
    scores_of_tiles = tile_scores(network, batches, [truth[index].shape for index in shown], machine)
    return [most_likely(scores).byte().cpu().numpy() for scores in scores_of_tiles]

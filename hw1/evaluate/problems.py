"""The evaluation of the three problems: headline metrics, and what pictures and page are made from."""

import csv
import json
import zipfile
from collections.abc import Sequence
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
from hw1.evaluate.validation import classify, features, segment, tile_scores
from hw1.models.classifiers import FinetunedClassifier, build_backbone, build_classifier, feature_width, input_view
from hw1.models.losses import segment_loss
from hw1.models.segmenters import build_segmenter
from hw1.models.weights import load_weights, picture_epochs, snapshot_file
from hw1.params import Params, Segmenter
from hw1.runtime import Machine


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
    for model, section in vars(params.classify).items():
        weights = snapshot_file(models / model, section.epochs, section.epochs)
        network = _load(build_classifier(section, manifest.classes), weights, machine)
        batches = _labelled(data, section.batch_size, machine)
        _, confusions[model] = classify(network, batches, machine, manifest.classes, input_view(section))
        parameters[model] = _trained_parameters(network)
    projections, width = _projections(params, manifest.classes, machine, data, models / "A")
    summary = {**_summary(manifest), "features": width, "epochs": picture_epochs(params.classify.A.epochs)}
    metrics = {"data": manifest.origin, **_accuracies(confusions, sources.histories / "classify")}
    return Result("p1", metrics, summary, confusions, parameters, projections=projections)


def evaluate_p2(params: Params, machine: Machine, sources: Sources) -> Result:
    """Accuracy of every setting in params.yaml, in its order."""
    data = sources.data / "office"
    manifest = Manifest.load(data)
    batches = _labelled(data, params.finetune.batch_size, machine)
    confusions, parameters = {}, {}
    for name, setting in params.settings.items():
        backbone = build_backbone(params.backbone)
        frozen = setting.train == "classifier"
        network = FinetunedClassifier(backbone, feature_width(backbone), manifest.classes, frozen)
        _load(network, sources.models / "finetune" / f"{name}.safetensors", machine)
        _, confusions[name] = classify(network, batches, machine, manifest.classes)
        parameters[name] = _trained_parameters(network)
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
    for model, section in vars(params.segment).items():
        network = build_segmenter(section, len(LAND_COVER))
        epochs[model] = picture_epochs(section.epochs)
        for epoch in epochs[model]:
            _load(network, snapshot_file(models / model, epoch, section.epochs), machine)
            masks = _predicted(network, images, truth, shown, section, machine)
            names = [f"{model}/{manifest.validation[index]}/{epoch}" for index in shown]
            arrays.update(zip(names, masks, strict=True))
        batches = Batches(images, None, section.batch_size, machine)
        _, confusions[model] = segment(network, batches, truth, machine, segment_loss(section))
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


def _load(network: nn.Module, weights: Path, machine: Machine) -> nn.Module:
    load_weights(network, weights)
    return machine.place(network)


def _labelled(data: Path, batch_size: int, machine: Machine) -> Batches:
    images, labels = load_array(data, "validation_images"), load_array(data, "validation_labels")
    return Batches(images, labels, batch_size, machine)


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


def _projections(params: Params, classes: int, machine: Machine, data: Path, weights: Path) -> tuple[list[tuple], int]:
    """Rows of projections.csv, and the number of features they were made from."""
    section = params.classify.A
    network = build_classifier(section, classes)
    batches, labels = _labelled(data, section.batch_size, machine), load_array(data, "validation_labels")
    rows: list[tuple] = []
    for epoch in picture_epochs(section.epochs):
        _load(network, snapshot_file(weights, epoch, section.epochs), machine)
        points = features(network, batches, machine)
        planes = {"tsne": embeddings.tsne(points, params.evaluate.tsne_perplexity, params.seed)}
        if epoch == section.epochs:
            planes["pca"] = embeddings.pca(points)
        for method, plane in planes.items():
            rows += [
                (method, epoch, f"{x:.5g}", f"{y:.5g}", label) for (x, y), label in zip(plane, labels, strict=True)
            ]
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
    section: Segmenter,
    machine: Machine,
) -> list[np.ndarray]:
    batches = Batches(images[shown], None, section.batch_size, machine)
    scores_of_tiles = tile_scores(network, batches, [truth[index].shape for index in shown], machine)
    return [scores.max(0).indices.byte().cpu().numpy() for scores in scores_of_tiles]

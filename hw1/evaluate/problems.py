"""The evaluation of the three problems: headline metrics, each image's prediction, and what pictures are made from.

Networks are built and fed as the card in their weights' file says, so what is scored is what the file holds.
"""

import csv
import json
import sys
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hw1.data.arrays import Manifest, load_array, load_masks
from hw1.data.classes import LAND_COVER
from hw1.engine.card import Card, read_card
from hw1.engine.metrics import accuracy, iou, majority_confusion, mean_iou, overlaps
from hw1.engine.validation import Classified, classify, extract_features, most_likely, segment, tile_scores
from hw1.engine.weights import BEST, FINAL, KEPT, picture_epochs, snapshot_file
from hw1.evaluate.trained import architecture, load_model
from hw1.images.batches import Batches
from hw1.images.input import input_of
from hw1.images.machine import Machine
from hw1.run.files import whole_file, whole_folder
from hw1.run.parameters.params import Params
from hw1.segment.segmentation import segment_loss

MODELS = ("A", "B")  # of problems 1 and 3
SHOWN_MISTAKES = 10  # of each classifier
BINS = 15  # of confidence, of equal width, as Guo et al. 2017 (arXiv:1706.04599) count them


@dataclass(frozen=True)
class Sources:
    """Folders the evaluation of a problem reads: its prepared part, its weights, its histories."""

    data: Path
    models: Path
    histories: Path


@dataclass
class Evaluation:
    """One problem: ``metrics`` are the headline numbers; ``predictions`` is a table, its header first, of what each
    model said of each validation image; the rest is for pictures and page.

    ``confusions`` (K, K) int64 by model; ``arrays`` are pictures and masks by name, of problems 1 and 2 the images of
    each model's surest mistakes, ``A/0`` the surest; ``projections``
    rows of method, epoch, x, y, label; ``of_epochs`` is problem 3's table of predictions after each epoch of the
    pictures, its models called ``A 13``.
    """

    metrics: dict[str, Any]
    predictions: list[Sequence[Any]]
    summary: dict[str, Any]
    confusions: dict[str, Tensor]
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    projections: list[tuple] = field(default_factory=list)
    of_epochs: list[Sequence[Any]] = field(default_factory=list)


def evaluate_p1(params: Params, machine: Machine, sources: Sources) -> Evaluation:
    """Accuracy of A and B; PCA and t-SNE of A's second-last layer at three epochs."""
    result = _evaluate_classifiers(params, MODELS, machine, sources)
    result.projections, width = _projections(params, machine, sources.data, sources.models / "A")
    epochs = [epoch for method, epoch in dict.fromkeys(row[:2] for row in result.projections) if method == "tsne"]
    result.summary |= {"features": width, "epochs": epochs}
    return result


def evaluate_p2(params: Params, machine: Machine, sources: Sources) -> Evaluation:
    """Accuracy of every setting in params.yaml, in its order."""
    return _evaluate_classifiers(params, params.settings, machine, sources)


def evaluate_p3(params: Params, machine: Machine, sources: Sources) -> Evaluation:
    """mIoU and IoUs of A and B; masks of a few tiles at three epochs."""
    manifest, truth = Manifest.load(sources.data), load_masks(sources.data, "validation")
    names, images = manifest.validation, load_array(sources.data, "validation_images")
    shown = _shown_tiles(names, params.evaluate.mask_ids)
    arrays = {}
    for index in shown:
        arrays |= {f"image/{names[index]}": images[index], f"truth/{names[index]}": truth[index]}
    predictions: list[Sequence[Any]] = [("image", "model", "class", "both", "truth", "predicted", "pixels")]
    of_epochs = predictions.copy()
    confusions, networks, epochs = {}, {}, {}

    def counted(network: nn.Module, card: Card) -> Tensor:
        batches = Batches(images, None, card.training.batch_size, machine)
        return segment(network, batches, truth, machine, segment_loss(card.training))[1]

    for model in MODELS:
        epochs[model] = []
        for network, card in _snapshots(sources.models / model, machine):
            tiles = Batches(images[shown], None, card.training.batch_size, machine)
            scores_of_tiles = tile_scores(network, tiles, [truth[index].shape for index in shown], machine)
            for index, scores in zip(shown, scores_of_tiles, strict=True):
                arrays[f"{model}/{names[index]}/{card.epoch}"] = most_likely(scores).byte().cpu().numpy()
            counts = counted(network, card)
            of_epochs += _tile_rows(names, f"{model} {card.epoch}", counts)
            epochs[model].append(card.epoch)
        if params.evaluate.keep == "best":  # else the last of the three
            network, card = _load(sources.models / model / BEST, machine)
            counts = counted(network, card)
        predictions += _tile_rows(names, model, counts)
        confusions[model], networks[model] = counts.sum(0), _facts(network, card, machine)
    majority = majority_confusion(confusions["A"])
    summary = _summary(manifest, networks) | {
        "majority_class": LAND_COVER[int(majority.sum(0).argmax())],
        "majority_miou": mean_iou(majority),
        "ids": [names[index] for index in shown],
        "requested_ids": list(params.evaluate.mask_ids),
        "epochs": epochs,
    }
    best = _best(confusions, sources.histories, "val_miou", "miou")
    metrics = {"data": manifest.origin, "keep": params.evaluate.keep, **_ious(confusions), **best}
    return Evaluation(metrics, predictions, summary, confusions, arrays, of_epochs=of_epochs)


PROBLEMS = {"p1": evaluate_p1, "p2": evaluate_p2, "p3": evaluate_p3}


def save(result: Evaluation, metrics: Path, predictions: Path, folder: Path) -> None:
    """Write the two files, and into ``folder`` summary.json, confusion.npz, masks.npz and two tables."""
    with whole_folder(folder) as draft:
        (draft / "summary.json").write_text(json.dumps(result.summary, indent=2) + "\n")
        _save_npz(draft / "confusion.npz", {model: counts.numpy() for model, counts in result.confusions.items()})
        _save_npz(draft / "masks.npz", result.arrays)
        _save_csv(draft / "epochs.csv", result.of_epochs)
        _save_csv(draft / "projections.csv", [("method", "epoch", "x", "y", "label"), *result.projections])
    with whole_file(predictions) as draft:
        _save_csv(draft, result.predictions)
    with whole_file(metrics) as draft:
        draft.write_text(json.dumps(result.metrics, indent=2) + "\n")


def _save_csv(path: Path, rows: Iterable[Sequence[Any]]) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def _save_npz(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write what ``np.load`` reads, without the time that ``np.savez`` puts in: equal arrays, equal bytes."""
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


def _summary(manifest: Manifest, networks: dict[str, dict[str, Any]]) -> dict[str, Any]:
    images = {"training_images": len(manifest.train), "validation_images": len(manifest.validation)}
    return {**images, "networks": networks}


def _facts(network: nn.Module, card: Card, machine: Machine) -> dict[str, Any]:
    """The number of trained parameters, and what the network's drawing shows."""
    trained = sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
    image = torch.zeros(1, 3, card.input_side, card.input_side, device=machine.device)
    return {"trained_parameters": trained} | architecture(network, image)


def _best(models: Iterable[str], histories: Path, column: str, name: str) -> dict[str, dict[str, float]]:
    """The largest value of each history's column, and the first epoch that has it."""
    best = {}
    for model in models:
        with open(histories / f"{model}.csv", newline="") as file:
            best[model] = max(csv.DictReader(file), key=lambda row: float(row[column]))
    return {
        f"best_{name}": {model: float(row[column]) for model, row in best.items()},
        "best_epoch": {model: int(row["epoch"]) for model, row in best.items()},
    }


# -- classifiers


def _evaluate_classifiers(params: Params, models: Iterable[str], machine: Machine, sources: Sources) -> Evaluation:
    """Score the classifiers on the validation split."""
    manifest, images = Manifest.load(sources.data), load_array(sources.data, "validation_images")
    seen: dict[str, Classified] = {}
    networks = {}
    for model in models:
        network, card = _load(sources.models / model / KEPT[params.evaluate.keep], machine)
        batches = Batches.labelled(sources.data, "validation", card.training.batch_size, machine)
        seen[model] = classify(network, batches, machine, manifest.classes, input_of(card.training))
        networks[model] = _facts(network, card, machine)
    confusions = {model: each.confusion(manifest.classes) for model, each in seen.items()}
    labels = next(iter(seen.values())).labels.tolist()
    columns = [each.predictions.tolist() for each in seen.values()]
    rows = zip(manifest.validation, labels, *columns, strict=True)
    bins = {model: reliability(each) for model, each in seen.items()}
    wrong = {model: mistakes(each, SHOWN_MISTAKES) for model, each in seen.items()}
    metrics = {
        "data": manifest.origin,
        "keep": params.evaluate.keep,
        "accuracy": {model: round(accuracy(confusion), 6) for model, confusion in confusions.items()},
        **_best(confusions, sources.histories, "val_accuracy", "accuracy"),
        "calibration_error": {model: round(calibration_error(rows), 6) for model, rows in bins.items()},
    }
    summary = {
        **_summary(manifest, networks),
        "classes": manifest.classes,
        "chance": 1 / manifest.classes,
        "reliability": {model: np.round(rows, 6).tolist() for model, rows in bins.items()},
        "mistakes": {model: entries(seen[model], manifest.validation, places) for model, places in wrong.items()},
    }
    arrays = {f"{model}/{rank}": images[place] for model, places in wrong.items() for rank, place in enumerate(places)}
    return Evaluation(metrics, [("image", "label", *seen), *rows], summary, confusions, arrays)


def reliability(seen: Classified) -> list[list[float]]:
    """For each bin of confidence that has images: their number, mean confidence, and share that is right."""
    confidences, right = seen.confidences.double().numpy(), (seen.predictions == seen.labels).numpy()
    bins = np.minimum((confidences * BINS).astype(int), BINS - 1)
    chosen = [bins == number for number in np.unique(bins)]
    return [[int(some.sum()), confidences[some].mean(), right[some].mean()] for some in chosen]


def calibration_error(bins: Sequence[Sequence[float]]) -> float:
    """The expected calibration error of :func:`reliability`: how far confidence and share right lie apart, the
    mean over images.
    """
    return sum(count * abs(sure - right) for count, sure, right in bins) / sum(row[0] for row in bins)


def mistakes(seen: Classified, count: int) -> list[int]:
    """Positions of the wrong answers that a classifier was surest of, the surest first; of equals the first."""
    wrong = (seen.predictions != seen.labels).nonzero().flatten()
    return wrong[seen.confidences[wrong].argsort(descending=True, stable=True)[:count]].tolist()


def entries(seen: Classified, names: Sequence[str], positions: Sequence[int]) -> list[dict[str, Any]]:
    """Names, labels, predictions and confidences of the images at ``positions``, for summary.json."""
    return [
        {
            "image": names[index],
            "label": int(seen.labels[index]),
            "prediction": int(seen.predictions[index]),
            "confidence": round(float(seen.confidences[index]), 4),
        }
        for index in positions
    ]


def _projections(params: Params, machine: Machine, data: Path, models: Path) -> tuple[list[tuple], int]:
    """Rows of projections.csv, t-SNE of each epoch and PCA of the last, and the number of features they show."""
    from hw1.evaluate import embeddings  # only here: scikit-learn takes a second to import

    rows: list[tuple] = []

    def add(method: str, epoch: int, plane: np.ndarray) -> None:
        rows.extend((method, epoch, f"{x:.5g}", f"{y:.5g}", label) for (x, y), label in zip(plane, labels, strict=True))

    for network, card in _snapshots(models, machine):
        batches = Batches.labelled(data, "validation", card.training.batch_size, machine)
        points, labels = (part.cpu().numpy() for part in extract_features(network, network.features, batches, machine))
        if reason := embeddings.degenerate(points):
            fault = f"evaluate p1: after epoch {card.epoch} the features of model A {reason}"
            print(f"{fault}; PCA and t-SNE show one point", file=sys.stderr)
        add("tsne", card.epoch, embeddings.tsne(points, params.evaluate.tsne_perplexity, params.seed))
    add("pca", card.epoch, embeddings.pca(points))
    return rows, points.shape[1]


# -- segmenters


def _ious(confusions: dict[str, Tensor]) -> dict[str, Any]:
    """The mean IoU of each model, and the IoU of each class, None where it is in neither truth nor prediction."""
    ious = {model: iou(confusion) for model, confusion in confusions.items()}
    return {
        "miou": {model: round(mean_iou(confusion), 6) for model, confusion in confusions.items()},
        "iou": {
            name: {model: each[index] and round(each[index], 6) for model, each in ious.items()}
            for index, name in enumerate(LAND_COVER[:-1])
        },
    }


def _tile_rows(names: Sequence[str], model: str, confusions: Tensor) -> Iterator[tuple]:
    """For each tile and class: pixels that are it in truth and prediction, in the truth, in the prediction, and all."""
    for name, counts, pixels in zip(names, overlaps(confusions).tolist(), confusions.sum((1, 2)).tolist(), strict=True):
        yield from ((name, model, label, *row, pixels) for label, row in zip(LAND_COVER[:-1], counts, strict=True))


def _shown_tiles(names: Sequence[str], wanted: Sequence[str]) -> list[int]:
    """Positions of the wanted tiles; the first other tiles of the set stand in for absent ones."""
    present = [names.index(name) for name in wanted if name in names]
    others = [index for index in range(len(names)) if index not in present]
    return present + others[: len(wanted) - len(present)]

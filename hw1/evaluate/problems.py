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
from hw1.engine.metrics import accuracy, best, iou, majority_confusion, mean_iou, overlaps
from hw1.engine.validation import Classified, classify, features, most_likely, segment, tile_scores
from hw1.engine.weights import BEST, FINAL, KEPT, picture_epochs, snapshot_file
from hw1.evaluate.architecture import architecture
from hw1.evaluate.confidence import calibration_error, entries, mistakes, reliability
from hw1.evaluate.trained import load_model
from hw1.images.batches import Batches
from hw1.images.input import input_of
from hw1.images.machine import Machine
from hw1.run.files import whole_file, whole_folder
from hw1.run.parameters.params import Params
from hw1.segment.focal import segment_loss

MODELS = ("A", "B")  # of problems 1 and 3
SHOWN_MISTAKES = 10  # of each classifier


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
    weights = {model: sources.models / model / KEPT[params.evaluate.keep] for model in MODELS}
    result = _evaluate_classifiers(params, weights, machine, sources)
    result.projections, width = _projections(params, machine, sources.data, sources.models / "A")
    epochs = [epoch for method, epoch in dict.fromkeys(row[:2] for row in result.projections) if method == "tsne"]
    result.summary |= {"features": width, "epochs": epochs}
    return result


def evaluate_p2(params: Params, machine: Machine, sources: Sources) -> Evaluation:
    """Accuracy of every setting in params.yaml, in its order."""
    weights = {setting: sources.models / setting / KEPT[params.evaluate.keep] for setting in params.settings}
    return _evaluate_classifiers(params, weights, machine, sources)


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
            masks = _predicted(network, images, truth, shown, card, machine)
            arrays |= {f"{model}/{names[i]}/{card.epoch}": mask for i, mask in zip(shown, masks, strict=True)}
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
    metrics = {"data": manifest.origin, "keep": params.evaluate.keep, **_ious(confusions, sources.histories)}
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


def _evaluate_classifiers(params: Params, weights: dict[str, Path], machine: Machine, sources: Sources) -> Evaluation:
    """What the classifiers in the files say of the validation split."""
    manifest, images = Manifest.load(sources.data), load_array(sources.data, "validation_images")
    seen: dict[str, Classified] = {}
    networks = {}
    for model, path in weights.items():
        network, card = _load(path, machine)
        batches = _labelled(sources.data, card, machine)
        seen[model] = classify(network, batches, machine, manifest.classes, input_of(card.training))
        networks[model] = _facts(network, card, machine)
    confusions = {model: each.confusion(manifest.classes) for model, each in seen.items()}
    labels = next(iter(seen.values())).labels.tolist()
    columns = [each.predictions.tolist() for each in seen.values()]
    rows = zip(manifest.validation, labels, *columns, strict=True)
    bins = {model: reliability(each) for model, each in seen.items()}
    wrong = {model: mistakes(each, SHOWN_MISTAKES) for model, each in seen.items()}
    metrics = {"data": manifest.origin, "keep": params.evaluate.keep, **_accuracies(confusions, sources.histories)}
    metrics["calibration_error"] = {model: round(calibration_error(rows), 6) for model, rows in bins.items()}
    summary = _summary(manifest, networks) | {"classes": manifest.classes, "chance": 1 / manifest.classes}
    summary["reliability"] = {model: np.round(rows, 6).tolist() for model, rows in bins.items()}
    summary["mistakes"] = {model: entries(seen[model], manifest.validation, places) for model, places in wrong.items()}
    arrays = {f"{model}/{rank}": images[place] for model, places in wrong.items() for rank, place in enumerate(places)}
    return Evaluation(metrics, [("image", "label", *seen), *rows], summary, confusions, arrays)


def _labelled(data: Path, card: Card, machine: Machine) -> Batches:
    images, labels = load_array(data, "validation_images"), load_array(data, "validation_labels")
    return Batches(images, labels, card.training.batch_size, machine)


def _facts(network: nn.Module, card: Card, machine: Machine) -> dict[str, Any]:
    """How many parameters are trained, and what the network's drawing shows."""
    trained = sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
    image = torch.zeros(1, 3, card.input_side, card.input_side, device=machine.device)
    return {"trained_parameters": trained} | architecture(network, image)


def _summary(manifest: Manifest, networks: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {
        "training_images": len(manifest.train),
        "validation_images": len(manifest.validation),
        "networks": networks,
    }


def _tile_rows(names: Sequence[str], model: str, confusions: Tensor) -> Iterator[tuple]:
    """For each tile and class: pixels that are it in truth and prediction, in the truth, in the prediction, and all."""
    for name, counts, pixels in zip(names, overlaps(confusions).tolist(), confusions.sum((1, 2)).tolist(), strict=True):
        yield from ((name, model, label, *row, pixels) for label, row in zip(LAND_COVER[:-1], counts, strict=True))


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
    from hw1.evaluate import embeddings  # only here: scikit-learn takes a second to import

    labels = load_array(data, "validation_labels")
    rows: list[tuple] = []

    def add(method: str, epoch: int, plane: np.ndarray) -> None:
        rows.extend((method, epoch, f"{x:.5g}", f"{y:.5g}", label) for (x, y), label in zip(plane, labels, strict=True))

    for network, card in _snapshots(models, machine):
        points = features(network, network.features, _labelled(data, card, machine), machine)[0].cpu().numpy()
        if reason := embeddings.degenerate(points):
            told = f"evaluate p1: after epoch {card.epoch} the features of model A {reason}"
            print(f"{told}; PCA and t-SNE show one point", file=sys.stderr)
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

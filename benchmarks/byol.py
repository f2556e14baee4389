"""BYOL with ResNet50: an epoch end to end, ours and two others', and our own bare step."""

import copy
import dataclasses
import os
import tempfile
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torchvision
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset

from benchmarks.flops import Shares, flops_per_image
from benchmarks.machine import machine, scale, wait
from benchmarks.tables import Table, ratio
from benchmarks.timing import Contestant, Setup, race
from hw1.byol import pretraining
from hw1.byol.byol import VIEWS, Byol
from hw1.classify.classifiers import build_backbone, feature_width
from hw1.data.arrays import load_array
from hw1.engine.loop import fit
from hw1.engine.recipe import Run
from hw1.engine.step import build_optimiser
from hw1.images.augment import augment
from hw1.images.batches import Batches
from hw1.images.input import normalise
from hw1.images.machine import Machine
from hw1.run.parameters.params import ByolTraining, load
from hw1.run.states.checkpoint import NO_CHECKPOINT, Checkpoint
from hw1.run.tracking.tracking import Tracker

PAPER = "presets/paper.yaml"


def images_on_disk(count: int, size: int) -> np.ndarray:
    """A prepared split of noise (count, size, size, 3) uint8, as a memory map."""
    folder = Path(tempfile.mkdtemp(prefix="hw1-bench-"))
    np.save(folder / "train_images.npy", np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8))
    return load_array(folder, "train_images")


def section(batch_size: int) -> ByolTraining:
    """The paper preset's BYOL for one epoch, with its second table's learning rate."""
    return dataclasses.replace(load(PAPER).pretrain.byol, epochs=1, batch_size=batch_size, lr=5e-4)


def network_on(place: Machine, backbone: str, training: ByolTraining) -> Byol:
    trunk = build_backbone(backbone)
    return place.place(Byol(trunk, feature_width(trunk), training.hidden, training.projection))


def pretraining_of(
    backbone: str,
    training: ByolTraining,
    images: np.ndarray,
    place: Machine,
    tracker: Tracker,
    checkpoint: Checkpoint = NO_CHECKPOINT,
) -> Contestant:
    """A training by the pipeline's own loop: batches, augmentation, step, target; counts images of an epoch."""
    network = network_on(place, backbone, training)
    batches, generator = Batches(images, None, training.batch_size, place), torch.Generator().manual_seed(0)

    recipe = pretraining.byol_training(network, batches, training, generator)

    def run() -> float:
        fit(recipe, Run(place, generator, tracker, checkpoint))
        return len(images)

    return run


def ours(backbone: str, size: int, count: int, batch_size: int) -> Contestant:
    """An epoch from the disk, logging to a spool included."""
    place = machine()
    os.environ.pop("HW1_TRACKING", None)
    os.environ["DVC_ROOT"] = tempfile.mkdtemp(prefix="hw1-bench-")
    tracker = Tracker.start("byol", {}, place.tags)
    tracker.__enter__()  # one run for all rounds, as for all epochs of a training
    return pretraining_of(backbone, section(batch_size), images_on_disk(count, size), place, tracker)


def bare_step(backbone: str, size: int, count: int, batch_size: int) -> Contestant:
    """The same step on two views that are there already: no data, no augmentation, no logging."""
    place, training = machine(), section(batch_size)
    network = network_on(place, backbone, training)
    optimiser = build_optimiser(training, network.parameters())
    images = torch.from_numpy(np.array(images_on_disk(batch_size, size))).to(place.device).permute(0, 3, 1, 2)
    views = normalise(augment(training.augmentation, images, torch.Generator().manual_seed(0), VIEWS))

    def run() -> float:
        for _ in range(count // batch_size):
            with place.autocast():
                loss, _ = network(views)
            loss.backward()
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            network.update_target(0.99)
        wait(place.device)
        return count

    return run


class Pictures(Dataset):
    """Prepared images one by one as a DataLoader wants them: PIL image -> ``transform``, and a label."""

    def __init__(self, images: np.ndarray, transform: object):
        self.images, self.transform = images, transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple:
        return self.transform(Image.fromarray(self.images[index])), 0


def precision(device: torch.device, fast: bool) -> AbstractContextManager:
    return torch.autocast(device.type, torch.bfloat16) if fast else nullcontext()


def lightly(size: int, count: int, batch_size: int, fast: bool) -> Contestant:
    """lightly's example for BYOL in PyTorch: its modules, transform, loss, SGD and order of work, at our size."""
    from lightly.loss import NegativeCosineSimilarity
    from lightly.models.modules import BYOLPredictionHead, BYOLProjectionHead
    from lightly.models.utils import deactivate_requires_grad, update_momentum
    from lightly.transforms.byol_transform import BYOLTransform, BYOLView1Transform, BYOLView2Transform

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    trunk = nn.Sequential(*list(torchvision.models.resnet50().children())[:-1], nn.Flatten())
    online = nn.ModuleDict(
        {"trunk": trunk, "head": BYOLProjectionHead(2048, 1024, 256), "predictor": BYOLPredictionHead(256, 1024, 256)}
    ).to(device, memory_format=torch.channels_last if fast else torch.preserve_format)
    slow = nn.ModuleDict({name: copy.deepcopy(online[name]) for name in ("trunk", "head")})
    deactivate_requires_grad(slow)
    views = BYOLView1Transform(input_size=size), BYOLView2Transform(input_size=size)
    loader = DataLoader(
        Pictures(images_on_disk(count, size), BYOLTransform(*views)),
        batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=scale().workers,
    )
    criterion = NegativeCosineSimilarity()
    optimiser = torch.optim.SGD(online.parameters(), lr=0.06)

    def predict(view: torch.Tensor) -> torch.Tensor:
        return online["predictor"](online["head"](online["trunk"](view)))

    @torch.no_grad()
    def goal(view: torch.Tensor) -> torch.Tensor:
        return slow["head"](slow["trunk"](view))

    def run() -> float:
        total = torch.zeros((), device=device)
        for views, _ in loader:
            for name in slow:
                update_momentum(online[name], slow[name], m=0.996)
            first, second = (view.to(device) for view in views)
            with precision(device, fast):
                loss = 0.5 * (criterion(predict(first), goal(second)) + criterion(predict(second), goal(first)))
            total += loss.detach()
            loss.backward()
            optimiser.step()
            optimiser.zero_grad()
        total.item()
        return count

    return run


def byol_pytorch(size: int, count: int, batch_size: int, fast: bool) -> Contestant:
    """byol-pytorch's learner as its README uses it: its own augmentation on the batch, Adam, its moving average."""
    from byol_pytorch import BYOL

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    trunk = torchvision.models.resnet50().to(
        device, memory_format=torch.channels_last if fast else torch.preserve_format
    )
    learner = BYOL(trunk, image_size=size, hidden_layer="avgpool").to(device)
    optimiser = torch.optim.Adam(learner.parameters(), lr=3e-4)
    to_tensor = torchvision.transforms.ToTensor()
    loader = DataLoader(
        Pictures(images_on_disk(count, size), to_tensor), batch_size, shuffle=True, num_workers=scale().workers
    )

    def run() -> float:
        for images, _ in loader:
            with precision(device, fast):
                loss = learner(images.to(device))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            learner.update_moving_average()
        loss.item()
        return count

    return run


def contestants(size: int, count: int, batch_size: int) -> dict[str, Setup]:
    rivals = {"lightly": lightly, "byol-pytorch": byol_pytorch}
    return {
        "ours": partial(ours, "resnet50", size, count, batch_size),
        "ours, bare step": partial(bare_step, "resnet50", size, count, batch_size),
        **{f"{name}, as shipped": partial(run, size, count, batch_size, False) for name, run in rivals.items()},
        **{
            f"{name}, bf16 + channels_last": partial(run, size, count, batch_size, True) for name, run in rivals.items()
        },
    }


def flops(backbone: str, size: int) -> float:
    network = network_on(Machine(torch.device("cpu"), None, 0.5), backbone, section(2))
    views = torch.randn(VIEWS * 2, 3, size, size)
    return flops_per_image(network, lambda: network(views)[0], images=2)


def epoch(rounds: int) -> list[Table]:
    """Side by side at ResNet50 and 128 px."""
    sizes = scale()
    speeds = race(contestants(128, sizes.byol_images, sizes.byol_batch), rounds)
    table = Table(
        f"BYOL epoch, ResNet50 at 128 px, batches of {sizes.byol_batch}, end to end from prepared data",
        ("", "images/s", "slowest-fastest", "ours / this"),
        note=f"{sizes.byol_images} images a round. The others read the same arrays through a DataLoader with "
        f"{sizes.workers} workers, with their own augmentation, heads and optimiser.",
    )
    for name, speed in speeds.items():
        table.add(name, speed.missing or f"{speed.median:.2f}", speed.spread, ratio(speeds["ours"], speed))
    shares = Shares("BYOL", rounds)
    for name in ("ours", "ours, bare step"):
        shares.add(f"BYOL, {name}", flops("resnet50", 128), speeds[name])
    return [table, shares.table, profile(rounds)]


def profile(rounds: int) -> Table:
    """Where the bare step's time goes, by operator."""
    sizes = scale()
    run = bare_step("resnet50", 128, sizes.byol_batch, sizes.byol_batch)
    for _ in range(2):
        run()
    activity = "CUDA" if torch.cuda.is_available() else "CPU"
    with torch.profiler.profile(activities=[getattr(torch.profiler.ProfilerActivity, activity)]) as seen:
        for _ in range(rounds):
            run()
    own = {
        event.key: getattr(event, f"self_{'device' if activity == 'CUDA' else 'cpu'}_time_total")
        for event in seen.key_averages()
    }
    total = sum(own.values())
    table = Table("The bare BYOL step by operator", ("", "share of the time"), note=f"Mean of {rounds} steps.")
    for name, spent in sorted(own.items(), key=lambda item: -item[1])[:10]:
        table.add(f"`{name}`", f"{spent / total:.1%}")
    return table

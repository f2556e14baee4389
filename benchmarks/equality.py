"""The same numbers as others': BYOL, fine-tuning and mean IoU beside independent implementations, step by step.

Both start from the same weights, see the same views and labels, and take the same optimiser, in float32. Compared are
the loss, every gradient and the weights after each of ten steps. Each step begins from our weights on both sides: a
network that was just drawn makes a rounding some hundred times as large from one step to the next, so two trainings
left to themselves are apart after five, whoever's they are. Differences are shares of the largest tensor's norm, the
median of the steps and, in brackets, the largest: once in a while a rounding tips a ReLU over.
"""

import copy
import dataclasses
from collections.abc import Callable, Iterable

import numpy as np
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.byol import section
from benchmarks.tables import Table
from hw1.byol.byol import Byol
from hw1.classify.classification import classifier_loss
from hw1.classify.classifiers import FinetunedClassifier, build_backbone, feature_width
from hw1.data.classes import LAND_COVER
from hw1.engine.metrics import count_confusion, iou, mean_iou
from hw1.engine.step import build_optimiser
from hw1.images.augment import augment
from hw1.images.input import normalise
from hw1.run.parameters.params import ByolTraining, load

STEPS, BATCH, SIDE, LR = 10, 16, 32, 5e-4
HIDDEN, PROJECTION = 512, 128  # of BYOL's heads
DECAY = 0.99  # of BYOL's target, the same at every step here
TOLERANCE = 1e-4  # of the median step's difference
TIPPED = 5e-2  # of a step in which a rounding tips one ReLU over, and with it a part of the gradient
COLUMNS = ("ours beside", "loss", "gradients", "weights after the step")

Step = Callable[[Tensor], Tensor]  # two views (2N, 3, S, S) -> loss; leaves gradients


@dataclasses.dataclass
class Side:
    """One of the two trainings: its step, and its parameters under names that both share."""

    step: Step
    parameters: dict[str, nn.Parameter]
    optimiser: torch.optim.Optimizer
    after: Callable[[], None] = lambda: None


def equality(rounds: int) -> list[Table]:
    """Whether they are equal is no question of speed: ``rounds`` plays no part."""
    del rounds
    return [of_byol(), of_finetuning(), of_miou()]


def compare(title: str, ours: Side, theirs: Side, inputs: Iterable[Tensor]) -> tuple[str, ...]:
    """A row of the median and the largest difference of all steps; an error where they are not equal."""
    found = [_step(ours, theirs, images) for images in inputs]
    medians, largest = np.median(found, 0), np.max(found, 0)
    if not ((medians <= TOLERANCE).all() and (largest <= TIPPED).all()):
        raise AssertionError(f"{title}: loss, gradients, weights differ by {medians} (median), {largest}")
    return title, *(f"{median:.0e} ({most:.0e})" for median, most in zip(medians, largest, strict=True))


def _step(ours: Side, theirs: Side, images: Tensor) -> tuple[float, float, float]:
    """One step of both, after which both have our weights: differences of loss, gradients and weights."""
    losses = [side.step(images).item() for side in (ours, theirs)]
    gradients = [{name: of.grad for name, of in side.parameters.items()} for side in (ours, theirs)]
    gradient = _difference(*gradients)
    for side in (ours, theirs):
        side.optimiser.step()
        side.optimiser.zero_grad(set_to_none=True)
    weight = _difference(ours.parameters, theirs.parameters)
    with torch.no_grad():
        for name, parameter in theirs.parameters.items():
            parameter.copy_(ours.parameters[name])
    for side in (ours, theirs):
        side.after()
    return abs(losses[0] - losses[1]) / abs(losses[1]), gradient, weight


def _difference(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> float:
    """The largest norm of a tensor's difference, as a share of the largest norm of a tensor."""
    scale = max(tensor.detach().norm().item() for tensor in theirs.values())
    return max((ours[name] - theirs[name]).detach().norm().item() for name in theirs) / scale


# -- BYOL


def of_byol() -> Table:
    note = (
        f"ResNet18 at {SIDE} px, {STEPS} steps of Adam (lr {LR:g}) on {BATCH} images, two views by the pipeline's own "
        "augmentation. What is other there, and was set to ours: the loss is the mean of both directions' negative "
        "cosines in lightly (ours is 4 plus 4 times that, the sum of 2 - 2 cos; Adam hardly sees the factor), and its "
        "heads have no bias before BatchNorm, which takes it away again; byol-pytorch normalises both views as one "
        "batch (ours each by itself, as lightly), so there ours does so too. Both average the target's parameters "
        "and leave its BatchNorm's statistics to its own batches, as ours."
    )
    table = Table("BYOL: equal to others', each of ten steps", COLUMNS, note)
    for title, other, joint in (("lightly's modules", lightly, False), ("byol-pytorch", byol_pytorch, True)):
        start = network(byol_section())
        try:
            theirs = other(copy.deepcopy(start))
        except ImportError as error:
            table.add(title, f"not installed: {error.name}", "", "")
            continue
        table.add(*compare(title, ours_of(start, theirs.parameters.keys(), joint), theirs, views()))
    return table


def byol_section() -> ByolTraining:
    return dataclasses.replace(section(BATCH), hidden=HIDDEN, projection=PROJECTION)


def network(training: ByolTraining) -> Byol:
    torch.manual_seed(0)
    trunk = build_backbone("resnet18")
    made = Byol(trunk, feature_width(trunk), training.hidden, training.projection)
    with torch.no_grad():  # as if there were none before BatchNorm, which lightly has not
        for part in (made.projector, made.predictor, made.target[1]):
            part[0].bias.zero_()
    return made


def views() -> list[Tensor]:
    """Two views of each batch, one after the other: (2 * BATCH, 3, SIDE, SIDE) float32."""
    generator = torch.Generator().manual_seed(0)
    shape = (STEPS, BATCH, 3, SIDE, SIDE)
    batches = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    return [normalise(augment("choice224", images, generator, 2)).contiguous() for images in batches]


def ours_of(start: Byol, names: Iterable[str], joint: bool) -> Side:
    """``joint``: both views are one batch to BatchNorm."""
    if joint:
        for norm in start._norms:
            norm.views = 1
        start._online = []  # whose views each step would set anew

    def step(images: Tensor) -> Tensor:
        loss, _ = start(images)
        loss.backward()
        return loss

    parameters = {name: parameter for name, parameter in start.named_parameters() if name in set(names)}
    trained = [parameter for name, parameter in start.named_parameters() if not name.startswith("target.")]
    return Side(step, parameters, torch.optim.Adam(trained, LR), lambda: start.update_target(DECAY))


def lightly(start: Byol) -> Side:
    """The order of work of lightly's example for BYOL, by its modules, on our weights."""
    from lightly.loss import NegativeCosineSimilarity
    from lightly.models.modules import BYOLPredictionHead, BYOLProjectionHead
    from lightly.models.utils import deactivate_requires_grad, update_momentum

    training = byol_section()
    width, hidden, out = feature_width(start.backbone), training.hidden, training.projection
    trunk = torchvision.models.resnet18()
    trunk.fc = nn.Identity()
    heads = BYOLProjectionHead(width, hidden, out), BYOLPredictionHead(out, hidden, out)
    parameters = {}
    for name, part in zip(("backbone", "projector", "predictor"), (trunk, *heads), strict=True):
        state = getattr(start, name).state_dict()
        prefix = "" if name == "backbone" else "layers."
        part.load_state_dict({f"{prefix}{key}": state[key] for key in state if f"{prefix}{key}" in part.state_dict()})
        parameters |= {f"{name}.{key.removeprefix(prefix)}": of for key, of in part.named_parameters()}
    slow_trunk, slow_head = copy.deepcopy(trunk), copy.deepcopy(heads[0])
    deactivate_requires_grad(slow_trunk)
    deactivate_requires_grad(slow_head)
    criterion = NegativeCosineSimilarity()

    def step(images: Tensor) -> Tensor:
        first, second = images.chunk(2)
        said = [heads[1](heads[0](trunk(view))) for view in (first, second)]
        with torch.no_grad():
            goals = [slow_head(slow_trunk(view)) for view in (first, second)]
        loss = 4 + 4 * 0.5 * (criterion(said[0], goals[1]) + criterion(said[1], goals[0]))
        loss.backward()
        return loss

    def after() -> None:
        update_momentum(trunk, slow_trunk, DECAY)
        update_momentum(heads[0], slow_head, DECAY)

    return Side(step, parameters, torch.optim.Adam(parameters.values(), LR), after)


def byol_pytorch(start: Byol) -> Side:
    """byol-pytorch's learner as it is, on our weights, both views handed to it as its augmentations."""
    from byol_pytorch import BYOL

    training, given = byol_section(), {}
    trunk = torchvision.models.resnet18()
    given["views"] = torch.randn(2, 2, 3, SIDE, SIDE)  # it tries itself while it is made
    learner = BYOL(
        trunk,
        image_size=SIDE,
        hidden_layer="avgpool",
        projection_size=training.projection,
        projection_hidden_size=training.hidden,
        augment_fn=lambda _: given["views"][0],
        augment_fn2=lambda _: given["views"][1],
        moving_average_decay=DECAY,
        use_simplicial_embeddings=False,
    )
    parts = {"backbone": trunk, "projector": learner.online_encoder.projector, "predictor": learner.online_predictor}
    parameters = {}
    for name, part in parts.items():
        part.load_state_dict(getattr(start, name).state_dict(), strict=name != "backbone")  # whose fc nothing uses
        there = {f"{name}.{key}": of for key, of in part.named_parameters() if not key.startswith("fc.")}
        parameters |= there
    learner.reset_moving_average()
    learner._get_target_encoder()

    def step(images: Tensor) -> Tensor:
        given["views"] = images.chunk(2)
        loss = learner(images[:BATCH])
        loss.backward()
        return loss

    return Side(step, parameters, torch.optim.Adam(parameters.values(), LR), learner.update_moving_average)


# -- fine-tuning


def of_finetuning() -> Table:
    note = (
        f"ResNet18, {STEPS} steps of Adam (lr {LR:g}) on {BATCH} images at {SIDE} px: setting B's network, loss and "
        "optimiser (fused), beside torchvision's network, torch's cross entropy and Adam in a loop of six lines."
    )
    table = Table("Fine-tuning: equal to a plain loop, each of ten steps", COLUMNS, note)
    torch.manual_seed(0)
    training = load("presets/paper.yaml").finetune
    trunk = build_backbone("resnet18")
    ours = FinetunedClassifier(trunk, feature_width(trunk), 10, frozen=False)
    plain = torchvision.models.resnet18(num_classes=10)
    state = {name.removeprefix("backbone."): tensor for name, tensor in ours.state_dict().items()}
    plain.load_state_dict({name.replace("classifier.", "fc."): tensor for name, tensor in state.items()})
    generator, labels = torch.Generator(), torch.arange(BATCH) % 10
    loss_of = classifier_loss(ours, training, generator)

    def step(images: Tensor) -> Tensor:
        generator.manual_seed(int(images.sum()))
        loss, _ = loss_of(images, labels)
        loss.backward()
        return loss

    def plain_step(images: Tensor) -> Tensor:
        draws = torch.Generator().manual_seed(int(images.sum()))
        loss = functional.cross_entropy(
            plain(normalise(augment(training.augmentation, images, draws)).contiguous()), labels
        )
        loss.backward()
        return loss

    optimiser = build_optimiser(training, ours.parameters())
    for group in optimiser.param_groups:
        group["lr"] = LR
    named = {name.removeprefix("backbone.").replace("classifier.", "fc."): of for name, of in ours.named_parameters()}
    shape = (STEPS, BATCH, 3, SIDE, SIDE)
    images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    theirs = Side(plain_step, dict(plain.named_parameters()), torch.optim.Adam(plain.parameters(), LR))
    table.add(*compare("torchvision and a plain loop", Side(step, named, optimiser), theirs, images))
    return table


# -- mean IoU


def of_miou() -> Table:
    note = (
        "64 tiles of 64 x 64 px of noise in the seven classes. torchmetrics' mean takes in Unknown, and gives 0 to a "
        "class that is nowhere; ours, as the course's scorer, is of the six others, of those that are there."
    )
    table = Table(
        "Mean IoU: equal to torchmetrics'", ("tiles", "largest difference of an IoU", "of the mean of six"), note
    )
    try:
        from torchmetrics.classification import MulticlassJaccardIndex
    except ImportError as error:
        table.add("", f"not installed: {error.name}", "")
        return table
    generator = torch.Generator().manual_seed(0)
    for title, highest in (("all classes", 7), ("without Barren and Unknown", 5)):
        truth, said = torch.randint(0, highest, (2, 64, 64, 64), generator=generator)
        counts = count_confusion(truth, said, len(LAND_COVER))
        theirs = MulticlassJaccardIndex(len(LAND_COVER), average="none")(said, truth)[: len(LAND_COVER) - 1]
        there = [index for index, value in enumerate(iou(counts)) if value is not None]
        one = max(abs(iou(counts)[index] - theirs[index].item()) for index in there)
        mean = abs(mean_iou(counts) - theirs[there].mean().item())
        if max(one, mean) > 1e-6:
            raise AssertionError(f"mean IoU: {one:.1e}, {mean:.1e}")
        table.add(title, f"{one:.1e}", f"{mean:.1e}")
    return table

"""The training loop on networks of a few weights."""

import copy
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from hw1.byol import pretraining
from hw1.byol.byol import Byol
from hw1.classify import classification
from hw1.classify.classifiers import FinetunedClassifier
from hw1.engine import loop
from hw1.engine.loop import fit, write_history
from hw1.engine.recipe import Recipe, Run
from hw1.images.batches import Batches
from hw1.images.machine import Machine
from hw1.images.shares import share_of
from hw1.run.errors import InputError
from hw1.run.parameters.params import ByolTraining, Segmenter, Supervised
from hw1.run.tracking.tracking import Tracker
from hw1.segment import segmentation

CPU = Machine(torch.device("cpu"), None, 0.5)
BASE = {"batch_size": 4, "momentum": 0.0, "weight_decay": 0.0}


@pytest.fixture(autouse=True)
def one_thread_and_no_tracking(monkeypatch):
    torch.set_num_threads(1)  # on a busy machine several wait for each other at every small step
    monkeypatch.setenv("HW1_TRACKING", "off")
    monkeypatch.delenv("DVC_STAGE", raising=False)


def training(epochs=2, schedule="constant", lr=0.1):
    return supervised(epochs=epochs, optimiser="sgd", schedule=schedule, lr=lr)


def supervised(**changes):
    settings = BASE | {"epochs": 2, "optimiser": "adam", "schedule": "cosine", "lr": 0.1, "augmentation": "none"}
    return Supervised(**(settings | changes))


def segmenter():
    numbers = {"focal_alpha": 0.25, "focal_gamma": 2.0, "width": 1.0, "color_jitter": 0.5}
    flips = {"horizontal_flip": 0.5, "vertical_flip": 0.5}
    return Segmenter(
        **BASE,
        **numbers,
        **flips,
        epochs=2,
        optimiser="adam",
        schedule="constant",
        lr=0.1,
        loss="focal",
        network="fcn32s_vgg16",
        weights="none",
    )


def images(count, size=8):
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8)


def labelled(count=10):
    return Batches(images(count), np.arange(count) % 3, 4, CPU)


def train(network, batches, loss_of, settings, seed=0, tracker=None, machine=CPU, **options):
    generator = torch.Generator().manual_seed(seed)
    recipe = Recipe(network, batches, loss_of, settings, "classify.A", **options)
    return fit(recipe, Run(machine, generator, tracker or Tracker("classify@A")))


class Weight(nn.Module):
    """One weight; as its own loss it has the gradient 1, so each step moves it by the learning rate."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))


def weight_itself(network):
    return lambda images, targets: (network.weight, {"train_loss": network.weight.detach()})


def backbone():
    return nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())


# -- steps and rates


def test_constant_rate_moves_the_weight_by_it_at_each_step():
    network = Weight()
    rows = train(network, labelled(10), weight_itself(network), training(epochs=2))
    assert network.weight.item() == pytest.approx(-0.6)  # 2 epochs of 3 steps
    assert [row["lr"] for row in rows] == [0.1, 0.1]


def test_cosine_rate_moves_the_weight_by_less_and_less():
    network = Weight()
    rows = train(network, labelled(8), weight_itself(network), training(2, "cosine"))
    # (1 + cos(k pi / 4)) / 2 at k = 0 to 3: 1, 0.8536, 0.5, 0.1464; their sum is 2.5.
    assert network.weight.item() == pytest.approx(-0.25)
    assert [row["lr"] for row in rows] == pytest.approx([0.1 * 0.853553, 0.1 * 0.146447], rel=1e-5)


def test_gradients_of_one_step_do_not_reach_the_next():
    network = Weight()
    train(network, labelled(8), weight_itself(network), training(1, lr=1.0))
    assert network.weight.item() == -2  # with gradients that add up it would be -3


# -- rows


def test_training_means_weigh_every_image_the_same():
    network = Weight()
    batches = Batches(images(10), np.arange(10), 4, CPU)  # batches of 4, 4, 2

    def loss_of(images, targets):
        return network.weight, {"mean_label": targets.float().mean()}

    assert [row["mean_label"] for row in train(network, batches, loss_of, training())] == pytest.approx([4.5, 4.5])


def test_validation_and_the_last_steps_row_are_recorded():
    network, values = Weight(), iter([0.5, 0.75])
    rows = train(
        network,
        labelled(10),
        weight_itself(network),
        training(),
        validate=lambda: {"val_accuracy": next(values)},
        after_step=lambda step, steps: {"ema": step / steps},
    )
    assert [(row["epoch"], row["ema"], row["val_accuracy"]) for row in rows] == [(1, 0.5, 0.5), (2, 1.0, 0.75)]


def test_hooks_get_the_steps_done_and_the_rows_of_epochs_to_which_they_add():
    network, steps, epochs = Weight(), [], []
    rows = train(
        network,
        labelled(8),
        weight_itself(network),
        training(),
        after_step=lambda *numbers: steps.append(numbers) or {},
        validate=lambda: {"val_loss": 3.0},
        after_epoch=lambda row, _: epochs.append(dict(row)) or {"extra": 2 * row["val_loss"]},
    )
    assert steps == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert [(row["epoch"], row["val_loss"]) for row in epochs] == [(1, 3.0), (2, 3.0)]
    assert [row["extra"] for row in rows] == [6.0, 6.0]


def test_gradient_norm_is_that_of_all_gradients_together_averaged_over_steps():
    network = nn.ModuleList([nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)])
    slopes = iter([(3.0, 4.0), (6.0, 8.0)])  # of norm 5 and 10

    def loss_of(images, targets):
        pairs = zip(network, next(slopes), strict=True)
        loss = sum(slope * part.weight.sum() for part, slope in pairs)
        return loss, {"train_loss": loss.detach()}

    rows = train(network, labelled(8), loss_of, training(epochs=1), gradient_norm=True)
    assert rows[0]["gradient_norm"] == pytest.approx(7.5)


def test_network_trains_in_training_mode_and_validates_in_eval_mode():
    network, modes = Weight(), []

    def loss_of(images, targets):
        modes.append(network.training)
        return network.weight, {"train_loss": network.weight.detach()}

    train(network, labelled(4), loss_of, training(), validate=lambda: modes.append(network.training) or {})
    assert modes == [True, False, True, False]


def test_every_row_and_the_speed_are_tracked(monkeypatch):
    monkeypatch.setattr(loop.Progress, "seconds", 4.0)
    network, epochs, metrics = Weight(), [], {}
    tracker = SimpleNamespace(stage="x", log_epoch=epochs.append, log_metrics=metrics.update)
    rows = train(network, labelled(10), weight_itself(network), training(), tracker=tracker)
    assert epochs == rows
    assert metrics == {"seconds": 4.0, "images_per_second": 5.0}  # two epochs of ten images


# -- columns of the four kinds of training


def test_rows_of_a_classifier_have_its_columns_in_order():
    network = FinetunedClassifier(backbone(), 6, 3, frozen=False)
    loss_of = classification.classifier_loss(network, supervised(), torch.Generator())
    scores = classification.classifier_scores(network, labelled(), CPU, 3)
    rows = train(network, labelled(), loss_of, supervised(), validate=scores)
    assert tuple(rows[0]) == classification.COLUMNS
    assert tuple(train(network, labelled(), loss_of, supervised())[0]) == classification.TRAIN_COLUMNS


def test_decay_of_byols_target_is_recorded_in_its_rows():
    settings = ByolTraining(
        **BASE,
        epochs=2,
        optimiser="adam",
        schedule="constant",
        lr=0.01,
        augmentation="trivial128",
        hidden=8,
        projection=4,
        ema=0.9,
        collapse_spread=0.2,
        on_collapse="warn",
    )
    network = Byol(backbone(), 6, 8, 4)
    loss_of = pretraining.byol_loss_of(network, settings, torch.Generator())
    batches = Batches(images(8), None, 4, CPU)
    update = pretraining.byol_training(network, batches, settings, torch.Generator()).after_step
    rows = train(network, batches, loss_of, settings, after_step=update)
    assert tuple(rows[0]) == ("epoch", "lr", "ema", "loss", "projection_std")
    # Four steps in all: 1 - 0.1 (1 + cos(k pi / 4)) / 2 at k = 2 and 4.
    assert [row["ema"] for row in rows] == pytest.approx([0.95, 1.0])


def test_rows_of_a_segmenter_have_its_columns_in_order():
    network, masks = nn.Conv2d(3, 7, 1), images(6)[..., 0] % 7
    loss_of = segmentation.segmenter_loss(network, segmenter(), torch.Generator())
    validation = Batches(images(6), None, 4, CPU)
    scores = segmentation.segmenter_scores(network, validation, list(masks), segmenter(), CPU)
    rows = train(network, Batches(images(6), masks, 4, CPU), loss_of, segmenter(), validate=scores)
    assert tuple(rows[0]) == segmentation.COLUMNS
    assert rows[-1]["val_loss"] == scores()["val_loss"]


# -- faults


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_loss_that_is_no_number_stops_the_training_and_names_the_section(value):
    network, epochs = Weight(), []

    def loss_of(images, targets):
        return network.weight, {"train_loss": torch.tensor(value if epochs else 1.0)}

    with pytest.raises(InputError, match=rf"classify\.A: train_loss is {value} in epoch 2: .*lower its lr"):
        train(
            network,
            labelled(),
            loss_of,
            training(epochs=3),
            after_epoch=lambda row, _: epochs.append(row["epoch"]) or {},
        )
    assert epochs == [1]


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
@pytest.mark.parametrize("room, advice", [(3, "2 do, found by trying"), (1, "not even two do")])
def test_batch_that_does_not_fit_in_memory_names_its_key_and_what_fits(error, room, advice):
    """With room for 3 a batch size of 2 is safe: an epoch's last batch may have one image more."""
    network = Weight()

    def loss_of(images, targets):
        if share_of(images).total > room:  # as augmentation and losses ask, and no part of the batch that failed
            raise error
        return network.weight, {"train_loss": network.weight.detach()}

    message = rf"^classify\.A\.batch_size: 4 images do not fit in the memory of .*; {advice}"
    with pytest.raises(InputError, match=message):
        train(network, labelled(), loss_of, training())


def test_other_errors_of_a_step_are_not_taken_for_want_of_memory():
    def loss_of(images, targets):
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes do not match"):
        train(Weight(), labelled(), loss_of, training())


# -- behaviour


def trained_classifier(seed):
    torch.manual_seed(seed)
    network = nn.Sequential(backbone(), nn.Dropout(0.5), nn.Linear(6, 3))
    settings, generator = supervised(augmentation="trivial128"), torch.Generator().manual_seed(seed)
    loss_of = classification.classifier_loss(network, settings, generator)
    rows = train(network, labelled(), loss_of, settings, seed=seed)
    return torch.cat([tensor.flatten().double() for tensor in network.state_dict().values()]), rows


def test_same_seed_gives_bit_equal_weights_and_rows():
    weights, rows = trained_classifier(1)
    again, rows_again = trained_classifier(1)
    assert torch.equal(weights, again)
    assert rows == rows_again


def test_another_seed_gives_other_weights():
    assert not torch.equal(trained_classifier(1)[0], trained_classifier(2)[0])


def test_classifier_learns_what_it_is_shown():
    torch.manual_seed(0)
    network = FinetunedClassifier(backbone(), 6, 3, frozen=False)
    settings = supervised(epochs=40, lr=0.05)
    rows = train(network, labelled(6), classification.classifier_loss(network, settings, torch.Generator()), settings)
    assert rows[-1]["train_loss"] < 0.5 * rows[0]["train_loss"]
    assert rows[-1]["train_accuracy"] == 1


def test_frozen_backbone_has_no_optimiser_state_and_keeps_every_bit(monkeypatch):
    network = FinetunedClassifier(backbone(), 6, 3, frozen=True)
    before, optimisers = copy.deepcopy(network.state_dict()), []
    build = loop.build_optimiser
    monkeypatch.setattr(loop, "build_optimiser", lambda *given: optimisers.append(build(*given)) or optimisers[0])
    settings = supervised(weight_decay=0.1)
    train(network, labelled(), classification.classifier_loss(network, settings, torch.Generator()), settings)
    assert set(optimisers[0].state) == set(network.classifier.parameters())
    moved = {name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])}
    assert moved == {"classifier.weight", "classifier.bias"}


# -- the history file


def history_of(rows, columns, path):
    draft = path / "history.csv"
    write_history(rows, columns, Run(CPU, torch.Generator(), Tracker("x"), drafts={"history": draft}))
    return draft.read_text()


def test_history_has_six_digits_and_whole_numbers_as_they_are(tmp_path):
    rows = [{"lr": 0.0005, "epoch": 1, "loss": 1 / 3, "more": 9}, {"epoch": 12, "lr": 1e-05, "loss": 1234567.0}]
    text = "epoch,lr,loss\n1,0.0005,0.333333\n12,1e-05,1.23457e+06\n"
    assert history_of(rows, ("epoch", "lr", "loss"), tmp_path) == text


def test_history_without_epochs_is_its_header(tmp_path):
    assert history_of([], ("epoch", "lr"), tmp_path) == "epoch,lr\n"


def test_largest_batch_is_tried_with_the_optimisers_state():
    """A step with it needs more memory than the first, after which it is there."""
    network, steps = Weight(), []

    def loss_of(images, targets):
        steps.append(len(images))
        if len(images) > 4 or (len(images) > 2 and steps[-2:-1] == steps[-1:]):
            raise torch.OutOfMemoryError("CUDA out of memory")
        return network.weight, {"train_loss": network.weight.detach()}

    with pytest.raises(InputError, match=r"8 images do not fit .*; not even two do"):
        train(network, Batches(images(8), np.arange(8), 8, CPU), loss_of, training())

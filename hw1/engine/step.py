"""One optimiser step of a recipe: optimiser, learning rate, loss, gradients."""

import math
import warnings
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

from hw1.engine.recipe import LossOf, Recipe
from hw1.engine.synchronised import synchronise
from hw1.images.machine import Machine
from hw1.images.shares import sharing
from hw1.run.errors import InputError
from hw1.run.parameters.params import Training
from hw1.run.processes.gpus import is_out_of_memory, largest_batch
from hw1.run.processes.ranks import world


def build_optimiser(training: Training, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """Adam or SGD over the parameters that take gradients; the loop sets the learning rate of each step."""
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    momentum, decay = training.momentum, training.weight_decay
    if training.optimiser == "adam":
        return torch.optim.Adam(trained, betas=(momentum, 0.999), weight_decay=decay, fused=True)
    return torch.optim.SGD(trained, lr=0.0, momentum=momentum, weight_decay=decay, fused=True)


def learning_rate(training: Training, step: int, steps: int) -> float:
    """Rate of step ``step`` of ``steps``: ``constant``, ``cosine`` from ``lr`` down to 0, or ``exponential``, in each
    epoch ``gamma`` times the last one's.
    """
    if training.schedule == "cosine":
        return training.lr * (1 + math.cos(math.pi * step / steps)) / 2
    if training.schedule == "exponential":
        return training.lr * training.gamma ** (step * training.epochs // steps)
    return training.lr


class _Loss(nn.Module):
    """The loss of a batch as the forward pass of a module that has the network's parameters, for DDP to wrap."""

    def __init__(self, network: nn.Module, loss_of: LossOf):
        super().__init__()
        self.network, self.forward = network, loss_of


class Step:
    """One optimiser step on a batch; nothing in it waits for the device.

    On several ranks, DistributedDataParallel averages the gradients of their parts of the loss.
    """

    def __init__(self, recipe: Recipe, optimiser: torch.optim.Optimizer, machine: Machine):
        self._loss_of, self._optimiser, self._machine = recipe.loss_of, optimiser, machine
        self._section, self._norm = recipe.section, recipe.gradient_norm
        if world() > 1:
            with warnings.catch_warnings(action="ignore", category=FutureWarning):  # new torch renames an option
                self._loss_of = nn.parallel.DistributedDataParallel(
                    _Loss(synchronise(recipe.network), recipe.loss_of),
                    broadcast_buffers=False,
                    gradient_as_bucket_view=True,
                )

    def __call__(self, images: Tensor, targets: Tensor, rate: float) -> Mapping[str, Tensor]:
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        try:
            return self._update(images, targets)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        # Outside the handler: the error held on to the tensors of the step that failed.
        raise self._too_large(images, targets)

    def gradients(self, images: Tensor, targets: Tensor) -> Mapping[str, Tensor]:
        """Forward and backward pass; the means that the loss reports."""
        with self._machine.autocast():
            loss, means = self._loss_of(images, targets)
        (loss * world() if world() > 1 else loss).backward()
        return means

    def _update(self, images: Tensor, targets: Tensor) -> Mapping[str, Tensor]:
        means = self.gradients(images, targets)
        if self._norm:
            parameters = (parameter for group in self._optimiser.param_groups for parameter in group["params"])
            norm = get_total_norm([parameter.grad for parameter in parameters if parameter.grad is not None])
            means = {**means, "gradient_norm": norm / world()}
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)
        return means

    def _too_large(self, images: Tensor, targets: Tensor) -> InputError:
        if world() > 1:  # the others are in the middle of a step
            fault = f"a share of {len(images)} images does not fit in the memory of {self._machine.name}"
            return InputError(f"{self._section}.batch_size: {fault}; take a smaller batch or more launch.devices")
        self._optimiser.zero_grad(set_to_none=True)

        def smaller(size: int) -> None:
            size = min(size + 1, len(images))  # an epoch's last batch may have one image more
            with sharing(size):
                for _ in range(2):  # from the second step on there is the optimiser's state as well
                    self._update(images[:size], targets[:size])

        fits = largest_batch(smaller, len(images))
        advice = f"{fits} do, found by trying" if fits else "not even two do: take a smaller network or image size"
        fault = f"{len(images)} images do not fit in the memory of {self._machine.name}"
        return InputError(f"{self._section}.batch_size: {fault}; {advice}")

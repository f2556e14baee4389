"""How far a training has come, as a state on disk holds it."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from hw1.engine.recipe import Row
from hw1.images.batches import Batches
from hw1.images.shares import add_up
from hw1.run.processes.ranks import rank


class Course:
    """How far a training has come: all that a later process needs to go on from there, bit for bit."""

    PLAIN = ("rows", "done", "order", "extra", "seconds")

    def __init__(
        self, network: nn.Module, optimiser: torch.optim.Optimizer, generator: torch.Generator, steps_per_epoch: int
    ):
        self._network, self._optimiser, self._generator = network, optimiser, generator
        self._steps_per_epoch = steps_per_epoch
        self.rows: list[Row] = []  # of the epochs done
        self.done = 0  # steps, of all epochs
        self.order: Tensor | None = None  # of the images in the epoch under way, (N,) int64
        self.sums = Sums()  # over that epoch
        self.extra: Row = {}  # of the last step
        self.seconds = 0.0

    @property
    def step(self) -> int:
        """Steps done in the epoch under way."""
        return self.done - len(self.rows) * self._steps_per_epoch

    def begin_epoch(self, batches: Batches) -> None:
        """Draw the order of the epoch, unless it is one that goes on."""
        if self.order is None:
            self.order = batches.shuffled(self._generator)

    def end_epoch(self, row: Row) -> None:
        self.rows.append(row)
        self.order, self.sums = None, Sums()

    def state(self, sums: "Sums") -> dict[str, Any]:
        """``sums`` are those of all ranks: a state belongs to no number of them."""
        return {
            "network": self._network.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "generators": {name: get() for name, (get, _) in self._generators().items()},
            "sums": sums.sums,
            **{name: getattr(self, name) for name in Course.PLAIN},
        }

    def _generators(self) -> dict[str, tuple[Callable[[], Tensor], Callable[[Tensor], None]]]:
        """How to get and set the state of each generator a step draws from; the GPU's is this process's own."""
        generators = {
            "ours": (self._generator.get_state, self._generator.set_state),
            "torch": (torch.get_rng_state, torch.set_rng_state),
        }
        if next(self._network.parameters()).is_cuda:
            generators["cuda"] = torch.cuda.get_rng_state, torch.cuda.set_rng_state
        return generators

    def restore(self, state: Mapping[str, Any]) -> None:
        self._network.load_state_dict(state["network"])
        self._optimiser.load_state_dict(state["optimiser"])
        for name, (_, put) in self._generators().items():
            if name in state["generators"]:  # not the GPU's, if the training was on none
                put(state["generators"][name])
        device = next(self._network.parameters()).device
        self.sums = Sums({key: total.to(device) * (rank() == 0) for key, total in state["sums"].items()})
        for name in Course.PLAIN:
            setattr(self, name, state[name])


class Sums:
    """Sums of the batches' means (a rank's parts of them) over an epoch, kept on the device and read once."""

    def __init__(self, sums: dict[str, Tensor] | None = None):
        self.sums = sums or {}

    def add(self, means: Mapping[str, Tensor], images: int) -> None:
        """All sums in one call; ``means`` are float32 scalars of the same names each time."""
        for key, mean in means.items():
            if key not in self.sums:
                self.sums[key] = torch.zeros_like(mean)
        torch._foreach_add_([self.sums[key] for key in means], list(means.values()), alpha=images)

    def of_all_ranks(self) -> "Sums":
        """The sums over all ranks, on each of them."""
        return Sums({key: add_up(total.clone()) for key, total in self.sums.items()})

    def means(self, images: int) -> Row:
        if not self.sums:
            return {}
        totals = torch.stack([total.float() for total in self.sums.values()]).tolist()
        return {key: total / images for key, total in zip(self.sums, totals, strict=True)}

"""A trained network ready to predict, from its file alone."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from hw1.archive.pictures import resized_crop, square_tile
from hw1.engine.card import Card
from hw1.engine.validation import logits_of
from hw1.engine.weights import KEPT
from hw1.evaluate.trained import load_model
from hw1.images.input import NetworkInput, input_of
from hw1.images.machine import Machine, start
from hw1.run.errors import InputError
from hw1.run.parameters.params import Runtime
from hw1.run.processes.gpus import is_out_of_memory
from hw1.run.processes.numerics import pinned

MAX_BATCH = 256  # images, however large the batch in training was
PROBLEMS = {"classify": "p1", "finetune": "p2", "segment": "p3"}  # of the homework, by task


def weights_of(task: str, model: str, keep: str = "last") -> Path:
    """The place of the pipeline's weights of a model after its last epoch, or its best on the validation images."""
    return Path("models", task, model, KEPT[keep])


@dataclass(frozen=True)
class Predictor:
    """A network in eval mode on its device, and how it is fed."""

    network: nn.Module
    card: Card
    machine: Machine
    batch_size: int
    fed: NetworkInput

    @classmethod
    def load(cls, weights: Path, task: str, device: str = "auto", batch_size: int | None = None) -> "Predictor":
        """Load a file of weights; ``device`` is auto, cpu or cuda; ``batch_size`` is the training's, or MAX_BATCH.

        The precision is that of the training, as in its evaluation; the numerics are the process's own.

        Raises:
            InputError: no such file, no trained network, or one of another ``task`` (classify, finetune, segment).
        """
        network, card = load_model(weights)
        if card.task != task:
            raise InputError(f"{weights}: weights of {card.stage}, but those of {task} are needed")
        if device == "cuda" and not torch.cuda.is_available():
            raise InputError("--device: got cuda, but torch sees no GPU; allowed here: auto, cpu")
        precision = card.parameters.get("runtime.precision", "auto")
        numerics = "portable" if pinned() and precision != "bf16" else "native"
        runtime = Runtime(numerics, torch.get_num_threads(), device, precision, deterministic=False, resident_share=0.0)
        machine = start(runtime, seed=0)
        batch_size = batch_size or min(card.training.batch_size, MAX_BATCH)
        return cls(machine.place(network).eval(), card, machine, batch_size, input_of(card.training))

    def stored(self, picture: Image.Image) -> np.ndarray:
        """A picture as the prepared data stores it: (crop, crop, 3) uint8."""
        if self.card.task == "segment":
            return square_tile(picture, self.card.crop)
        return resized_crop(picture, self.card.resize, self.card.crop, self.card.filter)

    def logits(self, pixels: list[np.ndarray]) -> Tensor:
        """Logits of n stored pictures, (n, K) or (n, 7, crop, crop) float32; InputError if they do not fit."""
        try:
            images = torch.from_numpy(np.stack(pixels)).to(self.machine.device).permute(0, 3, 1, 2)
            return logits_of(self.network, images, self.machine, self.fed).float()
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        raise InputError(
            f"--batch-size: {len(pixels)} images do not fit in the memory of {self.machine.name}; take fewer"
        )

"""Write a trained network as ONNX, or as a folder for the Hugging Face hub.

    python -m hw1.predict.export WEIGHTS OUT.onnx
    python -m hw1.predict.export WEIGHTS FOLDER

The folder holds the weights, what rebuilds their network, and a model card.

The ONNX file's input ``images`` is uint8 (N, 3, S, S), RGB, as the network is fed (the metadata say how a picture
becomes that); normalisation is part of the graph. Its output ``scores`` is float32, (N, outputs) or (N, 7, S, S).
It is compared with PyTorch by onnxruntime before it is put in its place. Needs the extra ``onnx``.
"""

import argparse
import json
import logging
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from hw1.engine.card import Card
from hw1.evaluate.trained import load_model
from hw1.images.input import NetworkInput, input_of
from hw1.predict.hub import export_folder
from hw1.predict.places import require_file_place
from hw1.run.errors import InputError
from hw1.run.files import whole_file
from hw1.run.processes.supervision import run_stage

TOLERANCE = 1e-4  # of the largest score; float32 sums in another order differ by about 1e-6
BATCHES = (1, 3)  # images, in the comparison


class Normalised(nn.Module):
    """A network with its normalisation before it: (N, 3, S, S) uint8 -> scores float32."""

    def __init__(self, network: nn.Module, fed: NetworkInput):
        super().__init__()
        self.network, self._fed = network, NetworkInput(normalised=fed.normalised)

    def forward(self, images: Tensor) -> Tensor:
        return self.network(self._fed(images))


def export(weights: Path, out: Path) -> tuple[Card, float]:
    """Write ``out``; the card of the weights, and the largest difference from PyTorch's scores.

    Raises:
        InputError: no trained network, onnx is not installed, or the scores differ by more than TOLERANCE.
    """
    try:
        import onnxruntime
        import onnxscript  # noqa: F401 (torch.onnx needs it, and its own error is long)
    except ImportError as error:
        raise InputError(f"{error.name} is not installed; `pip install onnx onnxscript onnxruntime`") from None
    require_file_place(out, [weights])
    network, card = load_model(weights)
    whole = Normalised(network, input_of(card.training)).eval()
    with whole_file(out) as draft:
        _write(whole, card, draft)
        session = onnxruntime.InferenceSession(draft, providers=["CPUExecutionProvider"])
        difference = max(_difference(whole, session, _noise(card, count)) for count in BATCHES)
        if not difference <= TOLERANCE:
            raise InputError(f"{out}: its scores differ from PyTorch's by {difference:.2g} of the largest; not written")
    return card, difference


@torch.no_grad()
def _write(network: nn.Module, card: Card, path: Path) -> None:
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    batch = torch.export.Dim("batch")
    network(_noise(card, 2))  # what normalise keeps from its first call must be numbers, not what stands for them below
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter about its own insides
        program = torch.onnx.export(
            network,
            (_noise(card, 2),),
            dynamo=True,
            dynamic_shapes={"images": {0: batch}},
            input_names=["images"],
            output_names=["scores"],
            verbose=False,
        )
    program.model.metadata_props["hw1"] = json.dumps(card.metadata())
    program.save(path)


@torch.no_grad()
def _difference(network: nn.Module, session, images: Tensor) -> float:
    """Largest difference of a score, as a share of the largest score."""
    expected = network(images).numpy()
    (found,) = session.run(["scores"], {"images": images.numpy()})
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def _noise(card: Card, count: int) -> Tensor:
    generator = torch.Generator().manual_seed(count)
    shape = (count, 3, card.input_side, card.input_side)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m hw1.predict.export", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("weights", type=Path, help="a .safetensors file of models/")
    parser.add_argument("out", type=Path, help="the .onnx file to write, or the folder, its name without an ending")
    args = parser.parse_args()
    if args.out.suffix not in (".onnx", ""):
        raise InputError(f"{args.out}: ends in {args.out.suffix}; give a name that ends in .onnx, or a folder")
    if args.out.suffix:
        card, difference = export(args.weights, args.out)
        told = f"differs from PyTorch by {difference:.1e} of the largest score"
    else:
        card, result = export_folder(args.weights, args.out)
        told = "with no result, as none of exactly these weights is at hand"
        if result is not None:
            told = f"with its result, {result.measure} {result.value:.4f}"
    print(f"{args.out}: {card.network} of {card.stage}; {told}")


if __name__ == "__main__":
    run_stage(main)

"""Write a trained network as ONNX, or as a folder for the Hugging Face hub.

    python -m hw1.predict.export WEIGHTS OUT.onnx
    python -m hw1.predict.export WEIGHTS FOLDER

The folder holds the weights, what they say of themselves, and a model card.

The ONNX file's input ``images`` is uint8 (N, 3, S, S), RGB, as the network is fed (the metadata say how a picture
becomes that); normalisation is part of the graph. Its output ``scores`` is float32, (N, outputs) or (N, 7, S, S).
It is compared with PyTorch by onnxruntime before it is put in its place. Needs the extra ``onnx``.
"""

import argparse
import json
import logging
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from hw1.engine.card import Card
from hw1.evaluate.trained import load_model
from hw1.images.input import NetworkInput, input_of
from hw1.predict.hub import export_folder
from hw1.predict.reading import require_file_place
from hw1.run.errors import InputError
from hw1.run.files import whole_file
from hw1.run.processes.supervision import run_stage

TOLERANCE = 1e-4  # of the largest score; float32 sums in another order differ by about 1e-6
BATCHES = (1, 3)  # images, in the comparison


@torch.no_grad()
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
    require_file_place(out, weights)
    network, card = load_model(weights)
    network = nn.Sequential(_Normalisation(input_of(card.training)), network).eval()
    examples = _noise(card, 2)
    network(examples)  # what normalise keeps from its first call must be numbers, not what stands for them below
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter about its own insides
        program = torch.onnx.export(
            network,
            (examples,),
            dynamo=True,
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            input_names=["images"],
            output_names=["scores"],
            verbose=False,
        )
    program.model.metadata_props["hw1"] = json.dumps(card.metadata())
    with whole_file(out) as draft:
        program.save(draft)
        session = onnxruntime.InferenceSession(draft, providers=["CPUExecutionProvider"])
        difference = max(_difference(network, session, _noise(card, count)) for count in BATCHES)
        if not difference <= TOLERANCE:
            raise InputError(f"{out}: its scores differ from PyTorch's by {difference:.2g} of the largest; not written")
    return card, difference


class _Normalisation(nn.Module):
    """The normalisation before a network: (N, 3, S, S) uint8 -> float32."""

    def __init__(self, fed: NetworkInput):
        super().__init__()
        self._fed = NetworkInput(normalised=fed.normalised)

    def forward(self, images: Tensor) -> Tensor:
        return self._fed(images)


def _difference(network: nn.Module, session, images: Tensor) -> float:
    """Largest difference of a score, as a share of the largest score."""
    expected = network(images)
    (scores,) = session.run(["scores"], {"images": images.numpy()})
    return float((torch.from_numpy(scores) - expected).abs().max() / expected.abs().max())


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
    if args.out.suffix == ".onnx":
        card, difference = export(args.weights, args.out)
        note = f"differs from PyTorch by {difference:.1e} of the largest score"
    elif not args.out.suffix:
        card, note = export_folder(args.weights, args.out)
    else:
        raise InputError(f"{args.out}: ends in {args.out.suffix}; give a name that ends in .onnx, or a folder")
    print(f"{args.out}: {card.network} of {card.stage}; {note}")


if __name__ == "__main__":
    run_stage(main)

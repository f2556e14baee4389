"""A trained network as a folder for the Hugging Face hub: ``model.safetensors``, ``config.json``, ``README.md``."""

import json
import shutil
from pathlib import Path

from hw1.engine.card import Card
from hw1.engine.weights import read_metadata
from hw1.evaluate.trained import load_model
from hw1.predict.hub_card import card_of_folder
from hw1.predict.hub_config import config_of
from hw1.predict.measured import Measured, measured_of, training_of
from hw1.predict.places import require_new_folder
from hw1.run.errors import InputError
from hw1.run.files import whole_folder


def export_folder(weights: Path, out: Path) -> tuple[Card, Measured | None]:
    """Write the folder; the card of the weights, and their result where one is at hand.

    The file of weights is copied as it is, so its tensors and what they say of themselves are the same bytes.

    Raises:
        InputError: no trained network, or something lies at ``out``.
    """
    require_new_folder(out)
    _refuse_start(weights)
    network, card = load_model(weights)
    result = measured_of(weights, card)
    config = config_of(network, card)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    with whole_folder(out) as draft:
        shutil.copyfile(weights, draft / "model.safetensors")
        (draft / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        text = card_of_folder(card, config, parameters, result, training_of(weights, card))
        (draft / "README.md").write_text(text, encoding="utf-8")
    return card, result


def _refuse_start(weights: Path) -> None:
    """InputError for a backbone or a start: it says neither its data nor how a picture is prepared for it."""
    stage = str(read_metadata(weights).get("stage", ""))
    if stage.startswith(("pretrain@", "start@", "initialise")):
        raise InputError(
            f"{weights}: weights of {stage}, which say neither their data nor their input's size; export a network "
            "trained from them, such as models/finetune/C/weights.safetensors"
        )

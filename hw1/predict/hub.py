"""A trained network as a folder for the Hugging Face hub: ``model.safetensors``, ``config.json``, ``README.md``."""

import json
import shutil
from pathlib import Path

from hw1.archive.archive import EQUIVALENT, SYNTHETIC
from hw1.data.classes import LAND_COVER
from hw1.engine.card import Card
from hw1.engine.weights import read_metadata
from hw1.evaluate.trained import load_model
from hw1.predict.measured import measured_of, training_of
from hw1.predict.reading import require_new_folder
from hw1.report.names import NAMES
from hw1.run.errors import InputError
from hw1.run.files import whole_folder

ORIGINS = {
    SYNTHETIC: "Its images were drawn by a program: no photographs. What it says of photographs means nothing.",
    EQUIVALENT: "Its images are photographs of public data sets, chosen by the project's own rules.",
}
UNKNOWN = "Its images came from an archive that was given. Say here what they are and whose, before you publish it."
MODEL_CARD = """---
license: mit
library_name: hw1
pipeline_tag: {task}
tags: [pytorch, safetensors, {card.network}]
---

# hw1: {card.stage}

A {network} of stage `{card.stage}`, after epoch {card.epoch}. The project hw1 trained it to rebuild a report on NTU's
"Deep Learning for Computer Vision", Fall 2023, homework 1. {origin}

{result}

It was made to compare ways of training, not for use in earnest. `config.json` has every parameter of the training, and
how a picture is prepared. The weights are under the MIT licence; the owners of the images may ask for more.

In the project's folder this loads it:

```python
from pathlib import Path
from hw1.evaluate.trained import load_model
network = load_model(Path("model.safetensors"))[0].eval()
```
{record}"""


def export_folder(weights: Path, out: Path) -> tuple[Card, str]:
    """Write the folder; return the card of the weights and a sentence on their result. The weights are copied.

    Raises:
        InputError: no trained network, or something lies at ``out``.
    """
    require_new_folder(out)
    stage = str(read_metadata(weights).get("stage", ""))
    if stage.startswith(("pretrain@", "start@", "initialise")):
        raise InputError(f"{weights}: weights of {stage}, no trained network; give one such as models/finetune/C's")
    _, card = load_model(weights)
    measured, segments = measured_of(weights, card), card.task == "segment"
    config = card.metadata() | ({"id2label": dict(enumerate(LAND_COVER))} if segments else {})
    result = "No result of exactly these weights is at hand."
    if measured:
        value, low, high = (f"{100 * number:.1f}" for number in (measured.value, measured.low, measured.high))
        result = f"Measured on {measured.images:,} validation images: {measured.measure} {value} % ({low} to {high})."
    record = [f"- {name}: {value}" for name, value in training_of(weights, card).items() if value]
    text = MODEL_CARD.format(
        card=card,
        network=NAMES.get(card.network, "small CNN"),
        task="image-segmentation" if segments else "image-classification",
        origin=ORIGINS.get(card.origin, UNKNOWN),
        result=result,
        record="\n".join(["", "Recorded of the training:", "", *record, ""]) if record else "",
    )
    with whole_folder(out) as draft:
        shutil.copyfile(weights, draft / "model.safetensors")
        (draft / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        (draft / "README.md").write_text(text, encoding="utf-8")
    return card, result

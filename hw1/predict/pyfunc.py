"""The trained models as MLflow's ``python_function``: pictures in, labels or masks out.

``mlflow.pyfunc.load_model("models:/hw1-finetune-C@current").predict(["cat.jpg"])`` needs what is in the model's
requirements.txt; the code comes with the model.
"""

import base64
import binascii
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image

from hw1.archive.pictures import PictureError, decode, in_rgb
from hw1.engine.card import read_card
from hw1.engine.validation import class_map
from hw1.predict.model import Predictor
from hw1.predict.reading import read_bytes
from hw1.run.errors import InputError

SERVED = "__pyfunc_model_path__"  # in the environment of MLflow's server of a model (3.17)
EMBEDDED = "data:"  # how a text begins that holds a picture in base64, as web pages have them


class PictureModel:
    """A trained network behind the one method that MLflow calls."""

    def __init__(self, predictor: Predictor):
        self._predictor = predictor

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """One row a picture: ``label`` and its ``probability``, or for a segmenter ``mask`` (H, W) uint8 of class
        numbers at the picture's own size.

        Args:
            model_input: a picture, a list of them, an array of them (N, H, W, 3) uint8, or a DataFrame or dict with a
                column ``image`` or one column only. A picture is a path, a file's bytes,
                ``data:image/png;base64,...``, an array (H, W, 3) uint8, or one of Pillow. Served by MLflow, no path:
                it would be one of the server's.
            params: none are known.

        Raises:
            InputError: something else, or a picture that cannot be read; it says which.
        """
        pictures, size = _pictures(model_input), self._predictor.batch_size
        batches = [pictures[first : first + size] for first in range(0, len(pictures), size)]
        return pd.DataFrame([row for batch in batches for row in self._rows(batch)])

    def _rows(self, items: list[Any]) -> Iterable[dict[str, Any]]:
        pictures = [_opened(item) for item in items]
        logits = self._predictor.logits([self._predictor.stored(picture) for picture in pictures])
        if self._predictor.card.task == "segment":
            for picture, scores in zip(pictures, logits, strict=True):
                yield {"mask": class_map(scores, (picture.height, picture.width)).cpu().numpy()}
        else:
            shares = logits[:, : self._predictor.card.classes].softmax(dim=1)
            for share, label in zip(*(column.tolist() for column in shares.max(dim=1)), strict=True):
                yield {"label": label, "probability": share}


def _load_pyfunc(path: str) -> PictureModel:
    """The model of a file of weights; MLflow calls this by its name."""
    weights = Path(path)
    with torch.random.fork_rng(devices=[]):  # the caller's draws stay as they are
        return PictureModel(Predictor.load(weights, read_card(weights).task))


def _pictures(given: Any) -> list[Any]:
    """One item a picture."""
    if isinstance(given, dict):  # of a server's "instances"
        given = pd.DataFrame({name: list(column) for name, column in given.items()})
    if isinstance(given, pd.DataFrame):
        if "image" not in given and given.shape[1] != 1:
            raise InputError(f"the columns are {', '.join(map(str, given.columns))}; name that of the pictures image")
        return list(given["image"] if "image" in given else given.iloc[:, 0])
    if isinstance(given, np.ndarray) and given.ndim in (1, 4):
        return list(given)
    return list(given) if isinstance(given, list | tuple | pd.Series) else [given]


def _opened(item: Any) -> Image.Image:
    """A picture in RGB."""
    name = str(item)[:100] if isinstance(item, str | Path) else f"a {type(item).__name__} of the input"
    try:
        if isinstance(item, str | Path) and not str(item).startswith(EMBEDDED):
            if SERVED in os.environ:
                raise InputError("a served model takes no paths; send pictures as data:image/png;base64,...")
            return decode(read_bytes(Path(item)))
        if isinstance(item, str):
            return decode(base64.b64decode(item.partition(",")[2], validate=True))
        if isinstance(item, bytes):
            return decode(item)
        if isinstance(item, Image.Image):
            return in_rgb(item)
        array = np.asarray(item)
        if array.dtype == np.uint8 and array.ndim == 3 and array.shape[2] == 3 and array.size:
            return Image.fromarray(array)
    except (PictureError, binascii.Error) as error:
        raise InputError(f"{name}: {error}") from None
    raise InputError(f"{name}: no picture; give a path, a file's bytes, or an array (H, W, 3) of uint8")

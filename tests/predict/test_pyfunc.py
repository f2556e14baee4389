"""Pictures in whatever form MLflow brings them."""

import base64
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from cards import saved
from PIL import Image

from hw1.predict.labels import items_of_folder, predict_labels
from hw1.predict.model import Predictor
from hw1.predict.pyfunc import _load_pyfunc
from hw1.run.errors import InputError


@pytest.fixture
def classifier(tmp_path) -> Path:
    saved("classify@A", tmp_path / "weights.safetensors", 5)
    return tmp_path / "weights.safetensors"


@pytest.fixture
def model(classifier):
    return _load_pyfunc(str(classifier))


@pytest.fixture
def pictures(tmp_path) -> list[Path]:
    folder = tmp_path / "pictures"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(3):
        Image.fromarray(rng.integers(0, 256, (40, 50, 3), np.uint8)).save(folder / f"{number}.png")
    return sorted(folder.iterdir())


def embedded(path):
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"


def test_labels_are_those_of_the_command(model, classifier, pictures, tmp_path):
    rows = model.predict([str(path) for path in pictures])
    items, _ = items_of_folder(pictures[0].parent)
    predict_labels(Predictor.load(classifier, "classify"), items, tmp_path / "out.csv", ("filename", "label"))
    assert rows["label"].tolist() == pd.read_csv(tmp_path / "out.csv")["label"].tolist()
    assert rows["probability"].between(1 / 5, 1).all()
    many = model.predict(pictures * 100)  # more than a batch
    assert many["label"].tolist() == rows["label"].tolist() * 100


def test_every_form_of_a_picture_gives_the_same(model, pictures):
    path = pictures[0]
    picture = Image.open(path)
    array = np.asarray(picture)
    expected = model.predict(str(path))
    for one in (path, path.read_bytes(), embedded(path), picture, array):
        for given in (one, [one], pd.DataFrame({"image": [one]}), pd.DataFrame({"other": [one]}), pd.Series([one])):
            pd.testing.assert_frame_equal(model.predict(given), expected)
    both = model.predict(np.stack([array, array]))
    pd.testing.assert_frame_equal(both.iloc[[0]], expected, rtol=1e-4)
    assert len(both) == 2


def test_mask_has_the_size_of_its_tile(tmp_path):
    saved("segment@A", tmp_path / "weights.safetensors")
    model = _load_pyfunc(str(tmp_path / "weights.safetensors"))
    masks = model.predict([Image.new("RGB", (50, 40)), Image.new("RGB", (64, 64))])["mask"]
    assert [mask.shape for mask in masks] == [(40, 50), (64, 64)]
    assert all(mask.dtype == np.uint8 and mask.max() < 7 for mask in masks)


def test_callers_random_draws_stay_as_they_were(classifier):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    _load_pyfunc(str(classifier))
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(
    "given, told",
    [
        ("/nowhere/a.png", "/nowhere/a.png: no such file"),
        (b"no picture", "a bytes of the input: not a JPEG, PNG"),
        ("data:image/png;base64,&&", "data:image/png;base64,&&: "),
        (3.5, "a float of the input: no picture"),
        (np.zeros((4, 4, 3)), "an? ndarray of the input: no picture"),
        (pd.DataFrame({"a": [1], "b": [2]}), "the columns are a, b; name that of the pictures image"),
    ],
)
def test_what_is_no_picture_is_named(given, told, model):
    with pytest.raises(InputError, match=told):
        model.predict(given)


@pytest.mark.parametrize("payload", ["inputs", "instances", "dataframe_split", "dataframe_records"])
def test_served_model_takes_mlflows_four_payloads(payload, model, pictures, monkeypatch):
    """As MLflow's server reads them."""
    from mlflow.pyfunc.scoring_server import _SERVER_MODEL_PATH, infer_and_parse_data

    monkeypatch.setenv(_SERVER_MODEL_PATH, "model")
    sent = [embedded(path) for path in pictures]
    records = [{"image": each} for each in sent]
    split = {"columns": ["image"], "data": [[each] for each in sent]}
    content = {"inputs": sent, "instances": records, "dataframe_split": split, "dataframe_records": records}[payload]
    found = model.predict(infer_and_parse_data({payload: content}))
    monkeypatch.delenv(_SERVER_MODEL_PATH)
    assert found["label"].tolist() == model.predict([str(path) for path in pictures])["label"].tolist()


@pytest.mark.parametrize("there", [True, False])
def test_served_model_says_nothing_of_the_servers_files(there, model, pictures, monkeypatch):
    monkeypatch.setenv("__pyfunc_model_path__", "model")
    path = str(pictures[0]) if there else "/nowhere"
    reason = "^a served model takes no paths; send pictures as data:image/png;base64,\\.\\.\\.$"
    with pytest.raises(InputError, match=reason):
        model.predict([path])

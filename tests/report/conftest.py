"""Outputs of the plots and report stages, made once for all tests that only look at them."""

from pathlib import Path

import pytest
from made_up import P2, ROOT, run_stages, write_inputs

from hw1.run.parameters.params import Params, load


@pytest.fixture(scope="session")
def usual(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which both stages ran on the usual inputs; not to be changed by a test."""
    return run_stages(write_inputs(tmp_path_factory.mktemp("usual")))


@pytest.fixture(scope="session")
def unusual(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same on 65 classes, given weights, a setting F, a class without IoU, collapsed BYOL, seeds, no dvc.lock."""
    inputs = {"p2": P2 | {"F": 0.34}, "classes": 65, "given_weights": True, "absent_class": "water"}
    inputs |= {"collapsed": True, "seeds": 5, "locked": False}
    return run_stages(write_inputs(tmp_path_factory.mktemp("unusual"), **inputs))


@pytest.fixture
def params() -> Params:
    return load(ROOT / "presets/quick.yaml")

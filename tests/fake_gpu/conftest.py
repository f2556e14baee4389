"""A fake GPU for the tests of this folder, and a host of programs that see it."""

import os
from collections.abc import Iterator
from pathlib import Path

import gpu_build
import pytest
from gpu_programs import Host, set_params


@pytest.fixture(scope="session")
def gpu(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the library; on CI it must be there."""
    if reason := gpu_build.missing():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"no fake GPU: {reason}")
    folder = tmp_path_factory.mktemp("gpu")
    gpu_build.build(folder)
    return folder


@pytest.fixture(scope="session")
def host(gpu: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """A project's folder with prepared data and the weights that backbones start from, and a host in it."""
    folder = tmp_path_factory.mktemp("project")
    set_params(folder)
    host = Host(gpu, folder)
    data = ("download", "prepare@p1", "prepare@mini", "prepare@office", "prepare@p3")
    for stage in (*data, "imagenet", "initialise", "start@P1B", "start@P3A", "start@P3B"):
        ended = host.stage(stage)
        assert ended.status == 0, ended.err
    yield host
    host.close()

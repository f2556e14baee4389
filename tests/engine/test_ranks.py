"""Trainings of every kind on 1, 2 and 4 ranks (processes that talk by gloo), see rank_cases.py."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from rank_cases import CASES
from rounding import BOUND, difference
from tiny_project import ROOT, SHORT_START

WORLDS = (2, 1, 4)  # in the order in which they hand a training on


def start(folder, world, rank, port):
    environment = os.environ | {"HW1_TRACKING": "off", "DVC_ROOT": str(folder), "OMP_NUM_THREADS": "1"} | SHORT_START
    environment["PYTHONPATH"] += f"{os.pathsep}{ROOT / 'tests'}"
    if world > 1:
        environment |= {"RANK": str(rank), "WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return subprocess.Popen([sys.executable, Path(__file__).with_name("rank_cases.py"), folder], env=environment)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """{ranks: [what each rank has in the end]}"""
    folder = tmp_path_factory.mktemp("ranks")
    found = {}
    for world in WORLDS:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        ranks = [start(folder, world, rank, port) for rank in range(world)]
        assert [rank.wait(300) for rank in ranks] == [0] * world
        found[world] = [torch.load(folder / f"{world}.{rank}.pt") for rank in range(world)]
    assert not (folder / ".checkpoints").exists()
    return found


@pytest.mark.parametrize("case", CASES)
def test_ranks_end_with_the_same_bits(results, case):
    for first, *others in results.values():
        for other in others:
            assert other[case]["rows"] == first[case]["rows"]
            weights = other[case]["weights"]
            assert all(torch.equal(weights[name], tensor) for name, tensor in first[case]["weights"].items())


@pytest.mark.parametrize("ranks", [2, 4])
@pytest.mark.parametrize("case", CASES)
def test_several_ranks_train_as_one_does(results, case, ranks):
    alone, shared = results[1][0][case], results[ranks][0][case]
    assert len(shared["rows"]) == len(alone["rows"]) == 2
    for one, other in zip(alone["rows"], shared["rows"], strict=True):
        assert other == pytest.approx(one, rel=BOUND, abs=1e-6)
    assert difference(alone["weights"], shared["weights"]) < BOUND


def test_training_goes_on_from_two_ranks_to_one_to_four(results):
    whole, handed_on = results[1][0]["dropout"], results[4][0]["handed on"]
    assert [row["epoch"] for row in handed_on["rows"]] == [1, 2]
    for one, other in zip(whole["rows"], handed_on["rows"], strict=True):
        assert other == pytest.approx(one, rel=BOUND)
    assert difference(whole["weights"], handed_on["weights"]) < BOUND


def test_validation_sees_each_image_once_in_its_order_and_bit_for_bit_as_one_process(results):
    alone = results[1][0]["validated"]
    assert alone["labels"].tolist() == [index % 3 for index in range(11)]
    for ranks in results.values():
        for rank in ranks:
            assert all(torch.equal(rank["validated"][name], tensor) for name, tensor in alone.items())


def test_record_of_a_run_says_how_many_ranks_it_had(results):
    assert "ranks" not in results[1][0]["tags"]
    for world in (2, 4):
        tags = results[world][0]["tags"]
        assert (tags["ranks"], tags["batch_norm"]) == (str(world), "synchronised")

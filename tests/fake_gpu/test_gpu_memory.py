"""GPUs that are too small: one line that names the parameter to change, wherever the memory ends."""

import re
import shutil
import subprocess
import sys

import gpu_build
import pytest
from gpu_programs import ROOT, Ended, set_params


@pytest.fixture
def folder(host):
    """Where parameters may be changed."""
    yield host.folder
    set_params(host.folder)
    shutil.rmtree(host.folder / ".checkpoints", ignore_errors=True)  # of what was stopped in mid-training


def run(gpu, program, folder=ROOT, **environment):
    """A program's text on the fake GPU."""
    command = [sys.executable, "-c", program]
    environment = gpu_build.environment(gpu) | environment
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True)
    return Ended(done.returncode, done.stdout, done.stderr, [])


def one_line(ended):
    """What a stage says that ends because of its memory."""
    assert ended.status == 1
    assert re.fullmatch(r"error: [^\n]+\n", ended.err), ended.err
    return ended.err


def test_step_names_the_largest_batch_that_fits_and_it_does(host, folder):
    small, sizes = {"FAKE_GPU_GIB": "0.55"}, {"A.width": 1024, "A.height": 64, "A.hidden": 16}
    set_params(folder, classify={"A.batch_size": 33} | sizes)
    told = one_line(host.stage("classify@A", **small))
    reason = r"classify\.A\.batch_size: 33 images do not fit in the memory of fake GPU 0; (\d+) do, found by trying"
    found = re.fullmatch(rf"error: {reason}\n", told)
    assert found and 2 <= int(found[1]) < 33
    set_params(folder, classify={"A.batch_size": int(found[1])} | sizes)
    assert host.stage("classify@A", **small).status == 0


def test_validation_names_the_batch_size(gpu):
    """A batch of 8 images to train on, one of 512 to validate with."""
    program = """
import sys
sys.path.insert(0, "tests/fake_gpu")
import dataclasses, steps, torch
from hw1.images.machine import start
from hw1.run.processes.supervision import run_stage

machine, draws = start(steps.PARAMS.runtime, 1), torch.Generator()
few, many = (dataclasses.replace(steps.PARAMS.classify.A, batch_size=count) for count in (8, 512))
case = steps.classify("A", machine, draws)
blank = [steps.blank(machine, training, 32, 50, batches=1) for training in (few, many)]
scores = steps.classification.classifier_scores(case.network, blank[1], machine, 50)
recipe = dataclasses.replace(case, batches=blank[0], section="classify.A", validate=scores)
run_stage(lambda: steps.fit(recipe, steps.Run(machine, draws, steps.Tracker("x"))))
"""
    assert one_line(run(gpu, program, FAKE_GPU_GIB="0.35")) == (
        "error: classify.A.batch_size: a batch of the validation images does not fit in the memory of fake GPU 0; "
        "take a smaller batch, or a smaller image size\n"
    )


CHOOSES = {"pretrain@byol": "backbone", "finetune@A": "backbone"}
CHOOSES |= {"classify@B": "classify.B.hidden", "segment@A": "segment.A.width"}


@pytest.mark.parametrize("stage, key", CHOOSES.items())
def test_network_that_does_not_fit_names_what_chooses_it(host, folder, stage, key):
    set_params(folder, segment={"A.width": 1.0, "A.weights": "none"})
    assert host.stage("start@P3A").status == 0
    told = one_line(host.stage(stage, FAKE_GPU_GIB="0.001"))
    assert told.startswith(f"error: {key}: the network's ")
    assert told.endswith("take a smaller network, free the device, or set runtime.device: cpu\n")


def test_data_that_may_live_on_the_gpu_but_does_not_fit_are_sent(gpu):
    program = """
import sys
import numpy as np, torch
from hw1.images.batches import Batches
from hw1.images.machine import Machine
torch.cuda.mem_get_info = lambda device=None: (1 << 40, 1 << 40)  # as it was before another process came
batches = Batches(np.zeros((4096, 128, 128, 3), np.uint8), None, 64, Machine(torch.device("cuda", 0), None, 0.5))
images, positions = next(batches.in_order())
assert images.is_cuda and images.shape == (64, 3, 128, 128) and positions.tolist() == list(range(64))
"""
    ended = run(gpu, program, FAKE_GPU_GIB="0.1")
    assert (ended.status, ended.err) == (
        0,
        "runtime.resident_share: 0.19 GiB of images do not fit into the free memory of fake GPU 0; "
        "they are sent batch by batch\n",
    )


def test_memory_that_ends_where_no_parameter_is_known_is_told_with_what_is_free(gpu):
    program = """
import shutil, torch
from hw1.run.processes.launch import run_on_one_device
shutil.copy(f"{ROOT}/presets/paper.yaml", "params.yaml")
run_on_one_device(lambda: torch.empty(100 << 30, dtype=torch.uint8, device="cuda"))
"""
    assert re.fullmatch(
        r"error: runtime\.device: [\d.]+ of 80\.0 GiB of fake GPU 0 are free, which is not enough; "
        r"take smaller batches or images, a device that nobody else uses, or cpu\n",
        one_line(run(gpu, program.replace("{ROOT}", str(ROOT)), folder=gpu)),
    )


def test_step_of_byol_that_fails_within_a_network_leaves_nothing_to_the_smaller_ones(gpu):
    """Its norms keep what they have seen of a batch for one update after it."""
    program = """
import sys
sys.path.insert(0, "tests/fake_gpu")
import steps, torch
from hw1.images.machine import start
from hw1.run.processes.supervision import run_stage

machine, draws = start(steps.PARAMS.runtime, 1), torch.Generator().manual_seed(0)
case = steps.byol(machine, draws)
run_stage(lambda: steps.train(case, machine, draws, lambda step: None))
"""
    told = one_line(run(gpu, program, FAKE_GPU_GIB="3"))
    told_too_large = r"128 images do not fit in the memory of fake GPU 0; (\d+) do, found by trying"
    found = re.fullmatch(rf"error: pretrain\.byol\.batch_size: {told_too_large}\n", told)
    assert found and 32 <= int(found[1]) < 128

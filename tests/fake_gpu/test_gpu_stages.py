"""Whole stages on the fake GPU, as ``dvc repro`` runs them one after the other; on two, side by side and as ranks."""

import csv
import os
import re
import shutil
import signal
import time

import pytest
import torch
from gpu_programs import Program, command_of, set_params

TRAININGS = ("start@P1B", "start@P3A", "start@P3B", "pretrain@supervised", "pretrain@byol", "classify@A", "classify@B")
TRAININGS += (*(f"finetune@{setting}" for setting in "ABCDE"), "segment@A", "segment@B")
EVALUATIONS = ("evaluate@p1", "evaluate@p2", "evaluate@p3")


@pytest.fixture(scope="module")
def ended(host):
    """How each stage ended, by its name."""
    names = (*TRAININGS, "histories", *EVALUATIONS, "compare", "plots")
    (host.folder / "plots/seeds").mkdir(parents=True)
    return {name: host.stage(name) for name in names}


@pytest.mark.parametrize("stage", TRAININGS)
def test_training_computes_on_the_gpu_and_says_no_more_than_its_epochs(ended, host, stage):
    training = ended[stage]
    assert (training.status, training.err) == (0, "")
    assert training.devices["0"]["launches"] > 500
    assert [line.split()[:3] for line in training.out.splitlines()] == [
        [stage, "epoch", "1/2"], [stage, "epoch", "2/2"],
    ]  # fmt: skip
    history = host.folder / f"models/history/{stage.replace('@', '/')}.csv"
    assert [row["epoch"] for row in csv.DictReader(history.open())] == ["1", "2"]


@pytest.mark.parametrize("stage", EVALUATIONS)
def test_evaluation_computes_on_the_gpu(ended, stage):
    assert ended[stage].status == 0, ended[stage].err
    assert ended[stage].devices["0"]["launches"] > 100


def test_features_without_any_difference_are_told_and_drawn(ended, host):
    """All features of the fake GPU are zeros, as a dead network's are."""
    told = ended["evaluate@p1"].err.splitlines()
    assert told == [
        f"evaluate p1: after epoch {epoch} the features of model A are the same for all images; "
        "PCA and t-SNE show one point"
        for epoch in (1, 2)
    ]
    assert ended["plots"].status == 0, ended["plots"].err
    for picture in ("p1_tsne", "p1_pca"):
        assert (host.folder / f"plots/figures/{picture}.png").stat().st_size > 10_000


@pytest.mark.parametrize("problem", ["p1", "p2", "p3"])
def test_prediction_runs_on_the_gpu(ended, host, problem):
    shown = host.folder / "shown"
    if not shown.is_dir():
        host.run("zipfile", f"-e data/raw/hw1_data.zip {shown}")
    data = shown / "hw1_data"
    images, out = {
        "p1": (data / "p1_data/val_50", "p1.csv"),
        "p2": (f"{data}/p2_data/office/val.csv {data}/p2_data/office/val", "p2.csv"),
        "p3": (data / "p3_data/validation", "masks"),
    }[problem]
    predicted = host.run("hw1.predict", f"{problem} {images} {out} --device cuda")
    assert predicted.status == 0, predicted.err
    assert predicted.devices["0"]["launches"] > 20
    assert (host.folder / out).exists()


def stopped(host, stage, sign):
    """How the stage ended by a SIGTERM after it had printed ``sign``."""
    (process,) = host.start(Program(*command_of(stage)))
    deadline = time.monotonic() + 60
    while sign not in host.output():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(process, signal.SIGTERM)
    (ended,) = host.wait()
    assert ended.status == 143
    return ended


@pytest.mark.parametrize("stage", ["finetune@C", "segment@B", "pretrain@byol"])
def test_training_stopped_within_an_epoch_goes_on(ended, host, stage):
    set_params(host.folder, finetune={"epochs": 2000}, segment={"B.epochs": 2000}, pretrain={"byol.epochs": 2000})
    assert stopped(host, stage, "epoch 2/").err == "stopped by SIGTERM; run `dvc repro` to go on from here\n"
    assert stopped(host, stage, "\n").out.startswith(f"{stage}: goes on after epoch ")
    shutil.rmtree(host.folder / ".checkpoints")
    set_params(host.folder)


@pytest.mark.parametrize(
    "runtime",
    [{"deterministic": True, "resident_share": 0.0}, {"precision": "fp32"}],
    ids=["deterministic and streamed", "fp32"],
)
@pytest.mark.parametrize("stage", ["pretrain@byol", "classify@B", "segment@A", "segment@B"])
def test_training_runs_with_other_settings_of_the_runtime(ended, host, stage, runtime):
    set_params(host.folder, runtime=runtime)
    training = host.stage(stage)
    set_params(host.folder)
    assert (training.status, training.err) == (0, "")
    assert training.devices["0"]["launches"] > 500


def test_portable_numerics_on_a_gpu_are_said_not_to_be(ended, host):
    set_params(host.folder, runtime={"numerics": "portable"})
    training = host.stage("finetune@A")
    set_params(host.folder)
    assert training.status == 0 and training.devices["0"]["launches"] > 500
    assert training.err == (
        "runtime.numerics: portable, but this runs on a GPU; results may differ from other machines'\n"
    )


OLD_DRIVER = "The NVIDIA driver on your system is too old (found version 12080)"
ANOTHER = f"torch {torch.__version__} is for CUDA {torch.version.cuda}, docs/usage.md says how to get another"


@pytest.mark.parametrize(
    "device, status, said, end",
    [
        ("auto", 0, "runtime.device: auto takes the CPU: ", ""),
        ("cuda", 1, "error: runtime.device: got cuda, but torch sees no GPU (", "); allowed here: auto, cpu"),
    ],
)
def test_driver_older_than_torchs_cuda_leaves_the_cpu_or_is_an_error(host, device, status, said, end):
    set_params(host.folder, runtime={"device": device})
    training = host.stage("classify@A", FAKE_GPU_DRIVER="12080")
    set_params(host.folder)
    assert (training.status, training.err) == (status, f"{said}{OLD_DRIVER}; {ANOTHER}{end}\n")
    assert training.processes == []


# -- two GPUs: what each process touches

LAUNCH = {"trainings_per_gpu": 1}


@pytest.fixture
def environment(host):
    """Two GPUs, and locks on them that no other test sees."""
    yield {"FAKE_GPUS": "2", "TMPDIR": str(host.folder)}
    set_params(host.folder)


@pytest.mark.parametrize("share", [0.5, 0.0], ids=["resident", "streamed"])
def test_two_trainings_side_by_side_touch_a_gpu_each(host, environment, share):
    set_params(host.folder, launch=LAUNCH, runtime={"resident_share": share})
    stages = ("finetune@A", "classify@A")
    host.start(*(Program(*command_of(stage), environment) for stage in stages))
    ended = host.wait()
    assert [(end.status, end.err) for end in ended] == [(0, "")] * 2
    assert sorted(list(end.devices) for end in ended) == [["0"], ["1"]]


@pytest.mark.parametrize("stage", ["pretrain@byol", "segment@B"])  # both views apart; one batch, and dropout
def test_each_rank_stays_on_its_own_gpu(host, environment, stage):
    set_params(host.folder, launch=LAUNCH | {"devices": 2})
    host.start(Program(*command_of(stage), environment))
    (end,) = host.wait()
    assert (end.status, end.err) == (0, "")
    assert re.findall(r"epoch (\d)/2", end.out) == ["1", "2"]
    # Gloo's own thread, which stands in for NCCL here, makes itself a context on GPU 0 and computes nothing there.
    used = [[gpu for gpu, counts in devices.items() if counts["launches"]] for devices in end.processes]
    assert sorted(used) == [["0"], ["1"]]


def test_rank_that_sees_only_its_own_gpu_takes_that(host, environment):
    """As SLURM shows each task the GPU it has: LOCAL_RANK is 1, and there is one GPU."""
    set_params(host.folder)
    alone = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
    end = host.run(*command_of("finetune@A"), **environment, **alone, CUDA_VISIBLE_DEVICES="1")
    assert (end.status, end.err) == (0, "")
    assert list(end.devices) == ["1"]

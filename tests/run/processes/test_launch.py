"""Stages that start ranks: what comes out, what is said, who is left, when all goes well and when it does not."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from processes import descendants
from tiny_project import Project, tiny
from torch.distributed.elastic.multiprocessing.errors import ErrorHandler, ProcessFailure

from hw1.run.errors import InputError
from hw1.run.processes import launch, supervision

SCRATCH = "models/backbone/scratch.safetensors"
FINETUNE = f"finetune A --data data/prepared/office --backbone {SCRATCH} --out {{out}}/A --history {{out}}/A.csv"
BYOL = f"pretrain byol --data data/prepared/mini --probe data/prepared/office --start {SCRATCH} "
BYOL += "--out {out}/byol.safetensors --history {out}/byol.csv --metrics {out}/byol.json"
SRUN = """#!{python}
import os, subprocess, sys
options = dict(word[2:].split("=") for word in sys.argv[1:] if word.startswith("--") and "=" in word)
command = sys.argv[1:][[word.startswith("--") for word in sys.argv[1:]].index(False):]
count, each = int(options["ntasks"]), int(options["ntasks-per-node"])
variables = lambda task: dict(SLURM_PROCID=str(task), SLURM_NTASKS=str(count), SLURM_LOCALID=str(task % each))
tasks = [subprocess.Popen(command, env=os.environ | variables(task)) for task in range(count)]
open("srun.txt", "w").write(" ".join(sys.argv[1:]))
sys.exit(max(task.wait() for task in tasks))
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project whose mini and office are prepared."""
    project = Project(tmp_path_factory.mktemp("launch"), tiny(), HW1_TRACKING="off", OMP_NUM_THREADS="1")
    project.run("dvc", "repro", "-q", "download", "prepare@mini", "prepare@office", "initialise")
    return project


def set_params(project, devices, epochs=2, **changes):
    tree = yaml.safe_load(tiny()) | changes
    tree["launch"]["devices"], tree["finetune"]["epochs"] = devices, epochs
    (project.folder / "params.yaml").write_text(yaml.safe_dump(tree))


def start(project, out="out", stage=FINETUNE, **environment):
    (project.folder / out).mkdir(exist_ok=True)
    pipes, environment = dict.fromkeys(("stdout", "stderr"), subprocess.PIPE), project.environment | environment
    command = [sys.executable, "-m", *f"stages.{stage}".format(out=out).split()]
    return subprocess.Popen(command, cwd=project.folder, env=environment, text=True, **pipes)


def run(project, **options):
    """Status, stdout and stderr of the stage; options as of ``start``."""
    stage = start(project, **options)
    out, err = stage.communicate(timeout=240)
    return stage.returncode, out, err


def epochs_of(project, history):
    lines = (project.folder / "out" / history).read_text().splitlines()[1:]
    return [int(line.split(",")[0]) for line in lines]


def ranks_of(stage):
    """Process numbers of its ranks, in their order, once each has RANK in its environment."""
    ranks = {}
    for pid in descendants(stage.pid):
        variables = dict(v.split("=", 1) for v in Path(f"/proc/{pid}/environ").read_text().split("\0") if "=" in v)
        if "RANK" in variables:
            ranks[int(variables["RANK"])] = pid
    return [ranks[rank] for rank in sorted(ranks)]


def assert_gone(pids):
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.1)


# -- all goes well


def test_two_ranks_speak_with_one_voice(project):
    set_params(project, devices=2)
    status, out, err = run(project, stage=BYOL)
    assert (status, err) == (0, "")
    assert re.findall(r"epoch (\d)/2", out) == ["1", "2"] and epochs_of(project, "byol.csv") == [1, 2]
    assert {path.name for path in (project.folder / "out").iterdir()} == {"byol.csv", "byol.json", "byol.safetensors"}
    assert not list(project.folder.glob(".checkpoints/*"))


def test_two_nodes_meet_where_torchruns_variables_say_and_the_first_writes(project):
    set_params(project, devices=1)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        meeting = {"PET_NNODES": "2", "PET_MASTER_ADDR": "127.0.0.1", "PET_MASTER_PORT": str(free.getsockname()[1])}
    nodes = [start(project, f"node{node}", **meeting, PET_NODE_RANK=str(node)) for node in range(2)]
    outs = [node.communicate(timeout=240) for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0]
    # The first agent may close its store before the second has heard that all is done; torch warns of that itself.
    warning = r"\[W\d{4} [^\n]*TCPStore[^\n]*\n(?:[^\n]+\n)*\n"
    assert [re.sub(warning, "", err) for _, err in outs] == ["", ""]
    assert [re.findall(r"epoch (\d)/2", out) for out, _ in outs] == [["1", "2"], []]
    assert (project.folder / "node0/A.csv").is_file() and not list((project.folder / "node1").iterdir())


def test_a_slurm_job_of_two_nodes_starts_its_ranks_with_srun(project, tmp_path):
    set_params(project, devices=1)
    srun = tmp_path / "srun"
    srun.write_text(SRUN.format(python=sys.executable))
    srun.chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{project.environment['PATH']}"
    # What each node resolves the first one's name to is the cluster's; here both are this machine.
    job = {"SLURM_JOB_NUM_NODES": "2", "SLURM_CPUS_PER_TASK": "8", "SLURM_CPUS_ON_NODE": "4"}
    status, out, err = run(project, PATH=path, **job)
    assert (status, err) == (0, "")
    assert re.findall(r"epoch (\d)/2", out) == ["1", "2"] and epochs_of(project, "A.csv") == [1, 2]
    asked = (project.folder / "srun.txt").read_text()
    assert asked.startswith("--nodes=2 --ntasks=2 --ntasks-per-node=1 --cpus-per-task=4 --kill-on-bad-exit=1 ")


def test_without_srun_a_job_of_several_nodes_is_an_error(project, tmp_path):
    set_params(project, devices=1)
    told = "error: SLURM_JOB_NUM_NODES is set, but there is no srun; run in a SLURM job, or unset it\n"
    assert run(project, PATH=str(tmp_path), SLURM_JOB_NUM_NODES="2") == (1, "", told)


# -- it does not


def test_killed_rank_ends_the_stage_and_other_numbers_of_ranks_go_on(project):
    set_params(project, devices=2, epochs=400)
    stage = start(project)
    while not list(project.folder.glob(".checkpoints/*/*.pt")):
        assert stage.poll() is None
        time.sleep(0.1)
    ranks = ranks_of(stage)
    os.kill(ranks[1], signal.SIGKILL)
    _, err = stage.communicate(timeout=60)
    told = "rank 1 was ended by SIGKILL, and the others with it; run `dvc repro` to go on from the last state"
    assert (stage.returncode, err) == (1, f"error: {told}\n")
    assert_gone(ranks)
    for devices, number in ((1, signal.SIGINT), (4, signal.SIGTERM)):
        set_params(project, devices, epochs=400)
        stage = start(project)
        assert "goes on after epoch" in stage.stdout.readline()
        ranks = ranks_of(stage)
        stage.send_signal(number)
        _, err = stage.communicate(timeout=60)
        told = f"stopped by {number.name}; run `dvc repro` to go on from here\n"
        assert (stage.returncode, err) == (128 + number, told)
        assert_gone(ranks)


def test_ranks_end_with_the_stage_that_started_them(project):
    set_params(project, devices=2, epochs=400)
    stage = start(project)
    assert "finetune@A" in stage.stdout.readline()
    ranks = ranks_of(stage)
    assert len(ranks) == 2
    stage.kill()
    stage.communicate()
    assert_gone(ranks)


def test_error_of_all_ranks_is_told_once(project):
    set_params(project, devices=2, lr=1e30)
    status, _, err = run(project)
    assert status == 1
    assert re.fullmatch(r"(finetune@A: starts afresh.*\n)?error: finetune: .* training diverged; lower its lr\n", err)


def failure(file, rank, exitcode, error=None):
    """As torchrun's agent sees the end of a rank, which may have recorded an error in ``file``."""
    if error is not None:
        try:
            raise error
        except BaseException as raised:  # a traceback is recorded with it
            ErrorHandler().record_exception(raised)
    failure = ProcessFailure(local_rank=rank, pid=1, exitcode=exitcode, error_file=file)
    failure.timestamp = rank
    return failure


LOST = (launch.LOST, RuntimeError("pair closed"))
ENDED = "and the others with it; run .*"


@pytest.mark.parametrize(
    "failures, told",
    [
        ([LOST, (1, SystemExit("error: lr: too large")), (1, SystemExit("error: later"))], "error: lr: too large"),
        ([LOST, (1, ValueError("a: b"))], r"Traceback [\s\S]*\nValueError: a: b\n"),
        ([LOST, (-9, None)], f"rank 1 was ended by SIGKILL, {ENDED}"),
        ([LOST, (7, None)], f"rank 1 ended with status 7, {ENDED}"),
        ([(-9, None), (143, None)], f"rank 0 was ended by SIGKILL, {ENDED}"),
        ([LOST, (143, None), (-9, None)], "143"),
        ([LOST, (launch.LOST, RuntimeError("x"))], r"the ranks lost each other \(pair closed\); run .*"),
    ],
)
def test_cause_is_told_before_what_it_caused(failures, told, tmp_path, monkeypatch):
    monkeypatch.setattr(supervision, "_received", None)
    monkeypatch.setattr(supervision.atexit, "register", lambda function: None)
    ended_ranks = {}
    for rank, end in enumerate(failures):
        monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(tmp_path / f"{rank}.json"))
        ended_ranks[rank] = failure(os.environ["TORCHELASTIC_ERROR_FILE"], rank, *end)
    with pytest.raises((SystemExit, InputError)) as ended:
        launch._tell(ended_ranks)
    assert re.fullmatch(told, str(ended.value))


@pytest.mark.parametrize(
    "raised, status, said",
    [
        (InputError("lr: got 0"), 1, "rank 3: error: lr: got 0\n"),
        (RuntimeError("gloo: pair closed"), launch.LOST, "rank 3: gloo: pair closed\n"),
        (ValueError("a"), 1, r"rank 3: Traceback [\s\S]*\nValueError: a\n\n"),
    ],
)
def test_rank_without_an_agent_says_itself_what_ended_it(raised, status, said, monkeypatch, capsys):
    def main():
        raise raised

    monkeypatch.setenv("RANK", "3")
    monkeypatch.delenv("TORCHELASTIC_ERROR_FILE", raising=False)
    monkeypatch.setattr(launch, "load", lambda: SimpleNamespace(runtime=SimpleNamespace(device="cpu")))
    monkeypatch.setattr(launch, "joined", contextlib.nullcontext)
    monkeypatch.setattr(launch.signal, "signal", lambda *_: None)
    with pytest.raises(SystemExit) as ended:
        launch._run_rank(main)
    assert ended.value.code == status
    assert re.fullmatch(said, capsys.readouterr().err)

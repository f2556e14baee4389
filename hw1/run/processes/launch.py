"""Starts of a training stage on its devices: alone on one, or as one process ("rank") on each.

``launch.devices`` of the parameters is the number of ranks on a machine. With one, the stage trains itself. With
more, it becomes torchrun's agent, which starts it once per device and ends all ranks when one fails; torchrun's own
variables (PET_NNODES and others) make it one agent of several. In a SLURM job of several nodes it starts the ranks
with ``srun``. A stage that finds RANK in its environment is a rank, whoever started it. docs/scale.md shows each way.
"""

import logging
import os
import signal
import socket
import subprocess
import sys
import traceback
import uuid
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed

from hw1.run.errors import InputError
from hw1.run.parameters.params import Params, load
from hw1.run.processes import gpus
from hw1.run.processes.gpus import sees_gpu, told_in_one_line
from hw1.run.processes.numerics import cores
from hw1.run.processes.ranks import joined
from hw1.run.processes.supervision import SENT_ON, ended_by, run_stage, stop, stop_requested

LOST = os.EX_TEMPFAIL  # status of a rank that failed because another one was gone
PATIENCE = 60  # seconds that ranks get to write their state, once asked to end
STOPPED = (128 + signal.SIGINT, 128 + signal.SIGTERM)
FROM_SLURM = {"RANK": "PROCID", "WORLD_SIZE": "NTASKS", "LOCAL_RANK": "LOCALID"}


def run_training(main: Callable[[], None]) -> None:
    """Run a training stage's ``main`` on as many devices as ``launch.devices`` says."""
    if os.environ.get(SENT_ON) == "slurm":
        os.environ |= {name: os.environ[f"SLURM_{slurm}"] for name, slurm in FROM_SLURM.items()}
    if "RANK" in os.environ:
        _run_rank(main)
    else:
        run_stage(lambda: _start(main))


def run_on_one_device(main: Callable[[], None]) -> None:
    """Run a stage's ``main`` on the first free GPU, if there are any."""
    run_stage(lambda: _on_one_device(main, load()))


def _on_one_device(main: Callable[[], None], params: Params) -> None:
    _take_gpus(params, 1)
    with told_in_one_line():
        main()


def _start(main: Callable[[], None]) -> None:
    params = load()
    devices, nodes = params.launch.devices, int(os.environ.get("SLURM_JOB_NUM_NODES", 1))
    if nodes > 1:
        _with_srun(nodes, devices)
    elif devices > 1 or "PET_NNODES" in os.environ:
        if taken := _take_gpus(params, devices):
            os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(taken)
        _with_torchrun(devices)
    else:
        _on_one_device(main, params)


def _take_gpus(params: Params, count: int) -> list[str]:
    """The names of ``count`` GPUs that are this process's until it ends; none where it does not use them."""
    if params.runtime.device == "cpu" or not sees_gpu(required=params.runtime.device == "cuda"):
        return []
    visible = gpus.names(torch.cuda.device_count())
    if count > len(visible):
        raise InputError(f"launch.devices: got {count}, but torch sees {len(visible)} GPUs; allowed: at most that many")
    taken = gpus.take(visible, count, params.launch.trainings_per_gpu)
    if count == 1:
        torch.cuda.set_device(visible.index(taken[0]))
    return taken


# -- ranks


def _run_rank(main: Callable[[], None]) -> None:
    """Run ``main`` as one rank; what ends it goes to the agent, which tells the user once."""

    def rank() -> None:
        if torch.cuda.is_available() and load().runtime.device != "cpu":
            torch.cuda.set_device(_gpu_of_rank(int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()))
        with joined(), told_in_one_line():
            main()

    try:
        run_stage(rank)
    except SystemExit as end:
        if isinstance(end.code, str):
            _fail(end, end.code)
        raise
    except Exception as error:
        if "gloo" in str(error) or isinstance(error, torch.distributed.DistError):
            _fail(error, str(error), LOST)
        _fail(error, traceback.format_exc())
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):  # of an agent that ends the others; this rank is done
            signal.signal(number, signal.SIG_IGN)


def _gpu_of_rank(local_rank: int, visible: int) -> int:
    """A rank's own among the ``visible`` GPUs: the only one where its launcher shows each rank just that."""
    if visible == 1:
        return 0
    if local_rank >= visible:
        raise InputError(
            f"launch.devices: rank {local_rank} of this machine has no GPU, torch sees {visible}; take fewer"
        )
    return local_rank


def _fail(error: BaseException, text: str, status: int = 1) -> None:
    """End; the error goes to the agent's file, its text to stderr where there is no agent."""
    if os.environ.get("TORCHELASTIC_ERROR_FILE"):
        from torch.distributed.elastic.multiprocessing.errors import get_error_handler

        get_error_handler().record_exception(error)
    else:
        print(f"rank {os.environ['RANK']}: {text}", file=sys.stderr)
    sys.exit(status)


# -- torchrun


def _with_torchrun(devices: int) -> None:
    from torch.distributed.elastic.multiprocessing import SignalException  # a second, and only here
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import elastic_launch
    from torch.distributed.run import config_from_args, parse_args

    logging.disable()  # what the agent says, we say shorter
    os.environ |= _environment(devices, "torchrun")
    options = [f"--nproc-per-node={devices}"]
    if "PET_NNODES" not in os.environ:  # else torchrun's own variables say where the nodes meet
        options += ["--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0", f"--rdzv-id={uuid.uuid4()}"]
    config, *_ = config_from_args(parse_args([*options, "stage"]))  # it would take our options for its own
    config.signals_to_handle = "SIGTERM,SIGINT"
    try:
        elastic_launch(config, entrypoint=sys.executable)(*_this_stage())
    except SignalException as received:
        ended_by(received.sigval)
    except ChildFailedError as failed:
        _tell(failed.failures)


def _tell(failures: dict[int, Any]) -> None:
    """End as the rank did that failed first, with its error; the agent stops those that are left, later."""
    by_time = sorted(failures.items(), key=lambda item: item[1].timestamp)
    causes = [item for item in by_time if item[1].exitcode != LOST]
    for _, failure in causes:
        if os.path.isfile(failure.error_file):
            kind, _, text = failure.message["message"].partition(": ")
            sys.exit(text if kind == "SystemExit" else failure.message["extraInfo"]["py_callstack"])
    advice = "run `dvc repro` to go on from the last state"
    if causes:
        rank, code = causes[0][0], causes[0][1].exitcode
        if code in STOPPED:
            ended_by(code - 128)
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
        raise InputError(f"rank {rank} {how}, and the others with it; {advice}")
    _, _, reason = by_time[0][1].message["message"].partition(": ")  # after its type
    raise InputError(f"the ranks lost each other ({reason}); {advice}")


# -- SLURM


def _with_srun(nodes: int, devices: int) -> None:
    """Start ``devices`` ranks on each node of the job; the first node, where this runs, is where they meet.

    A signal goes on to the ranks as SIGINT: srun would answer SIGTERM by killing them before they write their state.
    """
    with socket.socket() as unused:
        unused.bind(("", 0))
        port = unused.getsockname()[1]
    meeting = {"MASTER_ADDR": socket.gethostname(), "MASTER_PORT": str(port)}
    command = ["srun", *_srun_options(nodes, devices), sys.executable, *_this_stage()]
    try:
        ranks = subprocess.Popen(
            command, env=os.environ | _environment(devices, "slurm") | meeting, start_new_session=True
        )
    except FileNotFoundError:
        raise InputError("SLURM_JOB_NUM_NODES is set, but there is no srun; run in a SLURM job, or unset it") from None
    try:
        status = ranks.wait()
    except SystemExit:
        ranks.send_signal(signal.SIGINT)
        ranks.wait()
        raise
    if stop_requested():
        stop()
    if status:
        advice = "its lines and the ranks' are above; run `dvc repro` to go on from the last state"
        raise InputError(f"srun ended with status {status}, {advice}")


def _srun_options(nodes: int, devices: int) -> list[str]:
    """Options that srun would else take from the job's own, from the site's, or not at all."""
    options = [f"--nodes={nodes}", f"--ntasks={nodes * devices}", f"--ntasks-per-node={devices}"]
    if per_task := os.environ.get("SLURM_CPUS_PER_TASK"):  # since 22.05 srun does not take it from the job
        cpus = min(int(per_task), int(os.environ.get("SLURM_CPUS_ON_NODE", per_task)) // devices)
        options.append(f"--cpus-per-task={max(1, cpus)}")
    # Of a job submitted with --export=NONE, ranks would get no environment at all.
    return [*options, "--kill-on-bad-exit=1", "--export=ALL", "--disable-status"]


def _this_stage() -> list[str]:
    return ["-m", sys.modules["__main__"].__spec__.name, *sys.argv[1:]]


def _environment(devices: int, launcher: str) -> dict[str, str]:
    """Variables of the ranks that ``launcher`` starts, beside what this process has."""
    threads = os.environ.get("OMP_NUM_THREADS", str(max(1, cores() // devices)))
    return {"OMP_NUM_THREADS": threads, SENT_ON: launcher, "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": str(PATIENCE)}

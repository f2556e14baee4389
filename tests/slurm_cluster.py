"""A SLURM of two nodes on this machine: munged, slurmctld and two slurmd in a folder, for as long as tests need it."""

import contextlib
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scancel")
SBIN = ("/usr/sbin", "/sbin")  # where Debian has the daemons; not on every user's PATH
HOST = socket.gethostname().partition(".")[0]
ENDS = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT")
NODES = ("one", "two")
DEVICES = ("null", "zero", "full", "random")  # what the four GPUs of a node are
# Nothing of systemd or cgroups: processes are found in /proc, and nothing is bound. The nodes claim the CPUs and GPUs
# of the documented job, whatever the machine has. A job that is requeued starts at once, not after minutes.
CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=1,bf_interval=1
SlurmdParameters=config_overrides
GresTypes=gpu
NodeName={nodes[0]} NodeHostname=localhost NodeAddr=127.0.0.1 Port={ports[1]} CPUs=32 Gres=gpu:4
NodeName={nodes[1]} NodeHostname=localhost NodeAddr=127.0.0.1 Port={ports[2]} CPUs=32 Gres=gpu:4
PartitionName=all Nodes=ALL Default=YES
"""


def missing() -> list[str]:
    """The programs of SLURM that this machine lacks."""
    return [
        program
        for program in PROGRAMS
        if shutil.which(program, path=os.pathsep.join([os.environ["PATH"], *SBIN])) is None
    ]


def wait_for(found: Callable[[], bool], seconds: float, told: Callable[[], str]) -> None:
    """Wait until ``found``; fail with what is ``told`` then."""
    deadline = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < deadline, told()
        time.sleep(0.1)


class Cluster:
    """A context; nothing that is started in it outlives it, jobs included."""

    def __enter__(self) -> "Cluster":
        # Not in pytest's folder: all must be able to enter munged's, and the paths of sockets must be short.
        self.folder = Path(tempfile.mkdtemp(prefix="slurm-"))
        self._daemons: list[subprocess.Popen] = []
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        def none_left() -> bool:
            left = self._processes("")
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            return not left

        wait_for(none_left, 20, lambda: "processes of SLURM are left")
        for daemon in self._daemons:
            daemon.wait()
        shutil.rmtree(self.folder)

    def _start(self) -> None:
        self.folder.chmod(0o755)
        (self.folder / "state").mkdir()
        (self.folder / "key").write_bytes(os.urandom(1024))
        (self.folder / "key").chmod(0o600)
        user = pwd.getpwuid(os.getuid()).pw_name
        conf = CONF.format(host=HOST, ports=free_ports(3), user=user, folder=self.folder, nodes=NODES)
        (self.folder / "slurm.conf").write_text(conf)
        (self.folder / "gres.conf").write_text("".join(f"Name=gpu File=/dev/{device}\n" for device in DEVICES))
        files = {"socket": "munge.socket", "key-file": "key", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
        self._daemon("munged", "--foreground", *(f"--{option}={self.folder / name}" for option, name in files.items()))
        wait_for((self.folder / "munge.socket").exists, 20, self._logs)
        self._daemon("slurmctld", "-D", "-c")
        for node in NODES:
            self._daemon("slurmd", "-D", "-N", node)
        wait_for(lambda: self._ask("sinfo", "-h", "-t", "idle", "-o", "%D") == "2", 30, self._logs)

    def _daemon(self, *command: str) -> None:
        with open(self.folder / f"{len(self._daemons)}.out", "wb") as out:
            self._daemons.append(
                subprocess.Popen(command, env=self._environment(os.environ), stdout=out, stderr=subprocess.STDOUT)
            )

    def _environment(self, of: Mapping[str, str]) -> dict[str, str]:
        """The variables without those of a SLURM job in which the tests may run."""
        ours = {name: value for name, value in of.items() if not name.startswith(("SLURM", "SBATCH", "SRUN"))}
        path = os.pathsep.join([of["PATH"], *SBIN])
        return ours | {"PATH": path, "SLURM_CONF": str(self.folder / "slurm.conf")}

    def _logs(self) -> str:
        return "\n".join(path.read_text() for path in sorted(self.folder.glob("*.out")))

    def _ask(self, *command: str) -> str:
        done = subprocess.run(command, env=self._environment(os.environ), capture_output=True, text=True)
        return done.stdout.strip()

    def _processes(self, variable: str) -> list[int]:
        """Everything that knows of this cluster, jobs' processes too, and has ``variable`` in its environment."""
        ours, found = f"SLURM_CONF={self.folder}/slurm.conf", []
        for environ in Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):  # ended meanwhile, or somebody else's
                variables = environ.read_bytes().decode(errors="replace").split("\0")
                if ours in variables and (not variable or variable in variables):
                    found.append(int(environ.parent.name))
        return found

    def submit(self, script: str, *options: str, folder: Path, environment: Mapping[str, str]) -> "Job":
        """``script`` as a batch job, to run in ``folder``; ``options`` are sbatch's."""
        number = subprocess.run(
            ["sbatch", "--parsable", "--output=%j.out", *options], input=script, cwd=folder,
            env=self._environment(environment), capture_output=True, text=True, check=True,
        ).stdout.strip()  # fmt: skip
        return Job(self, number, folder / f"{number}.out")


@dataclass
class Job:
    """A batch job of ``cluster``."""

    cluster: Cluster
    number: str
    file: Path

    @property
    def output(self) -> str:
        """The text it has printed, standard error too."""
        return self.file.read_text() if self.file.exists() else ""

    def processes(self, variable: str = "") -> list[int]:
        """Processes of the job, on all nodes, those that have ``variable`` (NAME=value) in their environment."""
        return sorted(
            set(self.cluster._processes(f"SLURM_JOB_ID={self.number}")) & set(self.cluster._processes(variable))
        )

    def had_step_on(self, node: str) -> bool:
        """Tell whether something that it started with srun ran there."""
        return f"[{self.number}.0]" in (self.cluster.folder / f"{node}.log").read_text()

    def says(self, text: str, seconds: float = 90) -> None:
        """Wait until it has printed ``text``."""
        wait_for(lambda: text in self.output, seconds, lambda: f"no {text!r} in:\n{self.output}")

    def signal(self, *options: str) -> None:
        """``scancel`` with ``options``; without any it ends the job."""
        self.cluster._ask("scancel", *options, self.number)

    def ended(self, seconds: float = 120) -> str:
        """Wait until it has ended, on all nodes; SLURM's name of how."""
        wait_for(lambda: self._state() in ENDS, seconds, lambda: f"{self._state()}:\n{self.output}")
        return self._state()

    def restarts(self) -> int:
        """Count its new starts, once it runs."""
        shown = self.cluster._ask("scontrol", "show", "job", self.number)
        return int(re.search(r"Restarts=(\d+)", shown)[1]) if "JobState=RUNNING" in shown else 0

    def gone(self) -> None:
        """Wait until none of its processes is left: a stage in the job's script outlives its ranks by a moment."""
        wait_for(lambda: not self.processes(), 20, lambda: f"{self.processes()} are left")

    def _state(self) -> str:
        return self.cluster._ask("squeue", "-h", "-t", "all", "-o", "%T", "-j", self.number)


def free_ports(count: int) -> list[int]:
    """Ports that are free now, none of them twice."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for free in sockets:
            free.bind(("127.0.0.1", 0))
        return [free.getsockname()[1] for free in sockets]

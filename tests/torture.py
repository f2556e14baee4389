"""Kill the pipeline again and again, each time run it anew, and compare with a run that nobody disturbed.

``make torture``: the quick preset, 50 kills, of ``dvc repro`` and of two stages side by side in turn. SIGKILL meets the
stage's process, what started it (``dvc``, or its worker), what started all, or all of them, at a random moment of every
stage. In the end dvc.lock, with the hashes of every output, must be that of the undisturbed run of ``dvc repro``.
"""

import argparse
import contextlib
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from tiny_project import ROOT, Project, tiny

TRAININGS = {"pretrain", "classify", "finetune", "segment"}
COMMANDS = (("dvc", "repro"), (sys.executable, "-m", "hw1.repro", "--jobs", "2"))
TARGETS = ("stage", "starter", "first", "all")
STARTS = re.compile(r"Running stage '([^']+)'|^(\S+): begins$", re.M)
ENDS = re.compile(r"^(\S+): (?:done in|restored from|up to date after)", re.M)  # `dvc repro` runs one at a time
POLL = 0.02  # seconds


@dataclass
class Outcome:
    """Kills by stage and by target, and which files differ from the undisturbed run's."""

    stages: Counter = field(default_factory=Counter)
    targets: Counter = field(default_factory=Counter)
    resumed: int = 0  # trainings that went on from a state
    different: list[str] = field(default_factory=list)


class Repro:
    """One of COMMANDS in a session of its own, its output in a file."""

    def __init__(self, project: Project, log: Path, *options: str, command: tuple[str, ...] = COMMANDS[0]):
        self.log = log
        log.unlink(missing_ok=True)  # a stage of an earlier run may still write to it
        place = {"cwd": project.folder, "env": project.environment, "start_new_session": True}
        with open(log, "xb") as file:
            self.process = subprocess.Popen([*command, *options], stdout=file, stderr=subprocess.STDOUT, **place)

    @property
    def output(self) -> str:
        return self.log.read_text(errors="replace")

    @property
    def started(self) -> list[str]:
        """The stages begun so far."""
        return ["".join(names) for names in STARTS.findall(self.output)]

    @property
    def running(self) -> list[str]:
        """The stages begun and not ended: of ``dvc repro`` the last."""
        output = self.output
        begun = ["".join(names) for names in STARTS.findall(output)]
        if "Running stage '" in output:
            return begun[-1:]
        return [stage for stage in begun if stage not in ENDS.findall(output)]

    def kill(self, target: str, name: str) -> bool:
        """SIGKILL, of a stage by its name or of what is above it; False if it had ended."""
        if self.process.poll() is not None:
            return False
        first = psutil.Process(self.process.pid)
        family = first.children(recursive=True)
        stages = [process for process in family if is_stage(process, name)]
        if not stages:
            return False
        above = [stages[-1], *stages[-1].parents()]
        starter = next(process for process in above if "stages." not in command_of(process))
        workers = [process for process in family if "hw1.repro" in command_of(process)]
        victims = {"stage": stages[-1:], "starter": [starter], "first": [first], "all": [first, *family]}
        for victim in victims[target]:
            with contextlib.suppress(psutil.NoSuchProcess):
                victim.kill()
        self.process.wait()
        psutil.wait_procs(workers)  # `dvc repro` refuses beside them, and says so
        return True


def undisturbed(project: Project, log: Path) -> dict[str, float]:
    """Run everything once; seconds each stage took, in order."""
    repro = Repro(project, log)
    begun: dict[str, float] = {}
    while repro.process.poll() is None:
        for stage in repro.started:
            begun.setdefault(stage, time.monotonic())
        time.sleep(POLL)
    assert repro.process.returncode == 0, repro.output
    ends = [*list(begun.values())[1:], time.monotonic()]
    return {stage: end - start for (stage, start), end in zip(begun.items(), ends, strict=True)}


def disturbed(project: Project, log: Path, seconds: dict[str, float], kills: int, draw: random.Random) -> Outcome:
    """Run everything, killed ``kills`` times, as often in each stage."""
    outcome = Outcome()
    order = list(seconds)
    due = Counter(
        order[number * len(order) // kills if kills < len(order) else number % len(order)] for number in range(kills)
    )
    while True:
        number = outcome.targets.total()
        target, command = TARGETS[number // 2 % len(TARGETS)], COMMANDS[number % 2]
        repro = Repro(project, log, command=command)
        stage = kill_once(repro, project, target, seconds, due, draw)
        outcome.resumed += repro.output.count(": goes on after epoch ")
        if stage is None:
            assert repro.process.returncode == 0, repro.output
            return outcome
        due[stage] -= 1
        outcome.stages[stage] += 1
        outcome.targets[f"{target} of {' '.join(command[-2:])}"] += 1
        print(f"{outcome.targets.total():3} {stage:20} {target:8} {' '.join(command)}", flush=True)


def kill_once(
    repro: Repro,
    project: Project,
    target: str,
    seconds: dict[str, float],
    due: Counter,
    draw: random.Random,
    within: float = 1.0,
) -> str | None:
    """Kill the run in the first stage that is due; its name, or None if the run came to its end.

    The moment lies anywhere in the ``seconds`` that the stage takes; every other one of a training lies
    ``within`` so many seconds after it wrote a state.
    """
    current, begun, moment, trains = None, 0.0, 0.0, False
    while repro.process.poll() is None:
        running = repro.running
        for stage in set(repro.started) - set(running) if running else ():
            due[running[-1]] += due.pop(stage, 0)  # it ended before its moment: another one gets its kills
        wanted = [stage for stage in running if due[stage] > 0]
        if wanted and current not in wanted:
            current, begun, moment = wanted[0], time.monotonic(), draw.uniform(0, 0.9 * seconds[wanted[0]])
            trains = due[current] % 2 == 0 and current.split("@")[0] in TRAININGS
            before = states(project, current)
        if trains and states(project, current) - before:
            trains, begun, moment = False, time.monotonic(), draw.uniform(0, within)
        if current in wanted and not trains and time.monotonic() - begun >= moment and repro.kill(target, current):
            return current
        time.sleep(POLL)
    return None


def command_of(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):  # it has ended
        return " ".join(process.cmdline())
    return ""


def is_stage(process: psutil.Process, name: str) -> bool:
    """Tell whether a process is the stage of that name, or what DVC put between itself and it."""
    stage, _, item = name.partition("@")
    return re.search(rf"stages\.{stage}\b.?{item}\b", command_of(process)) is not None


def states(project: Project, stage: str) -> set[str]:
    """Names of the states of a training on disk."""
    return {path.name for path in project.folder.glob(f".checkpoints/{stage}-*/*.pt")}


def torture(folder: Path, params: str, kills: int, seed: int) -> Outcome:
    """Run the project twice under ``folder``, undisturbed and disturbed, and compare all hashes DVC recorded."""
    projects = {}
    for name in ("undisturbed", "disturbed"):
        (folder / name).mkdir()
        projects[name] = Project(folder / name, params, HW1_TRACKING="off")
    seconds = undisturbed(projects["undisturbed"], folder / "undisturbed.log")
    outcome = disturbed(projects["disturbed"], folder / "disturbed.log", seconds, kills, random.Random(seed))
    for stage in seconds:
        before, after = (project.outputs(stage) for project in projects.values())
        outcome.different += [path for path in before if before[path] != after.get(path)]
    outcome.different += [str(path) for path in leftovers(projects["disturbed"].folder)]
    return outcome


def leftovers(folder: Path) -> list[Path]:
    """Drafts and states that should be gone."""
    found = [path for path in folder.rglob(".*.tmp") if ".dvc" not in path.parts]
    return found + [path for path in [folder / ".checkpoints"] if path.exists()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tiny", action="store_true", help="the data and networks of the test suite")
    args = parser.parse_args()
    params = tiny(killed=True) if args.tiny else (ROOT / "presets/quick.yaml").read_text()
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="hw1-torture-") as folder:
        outcome = torture(Path(folder), params, args.kills, args.seed)
    print(f"kills: {dict(outcome.targets)}; by stage: {dict(outcome.stages)}; {outcome.resumed} trainings gone on with")
    print(f"{(time.monotonic() - start) / 60:.1f} min")
    if outcome.different:
        sys.exit(f"different from the undisturbed run: {', '.join(outcome.different)}")
    print("every output is equal to the undisturbed run's, byte for byte")


if __name__ == "__main__":
    main()

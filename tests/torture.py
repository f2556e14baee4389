"""Kill the pipeline again and again, each time run it anew, and compare with a run that nobody disturbed.

``make torture``: the quick preset, 50 kills. SIGKILL meets, in turn, the stage's process, ``dvc``, or both with
all they started, at a random moment of every stage. In the end dvc.lock, with the hashes of every output, must
be that of the undisturbed run.
"""

import argparse
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from tiny_project import ROOT, Project, tiny

TARGETS = ("stage", "dvc", "group")
STARTS = re.compile(r"Running stage '([^']+)'")
POLL = 0.02  # seconds


@dataclass
class Outcome:
    """What was killed, by stage and by target, and which files differ from the undisturbed run's."""

    stages: Counter = field(default_factory=Counter)
    targets: Counter = field(default_factory=Counter)
    resumed: int = 0  # trainings that went on from a state
    different: list[str] = field(default_factory=list)


class Repro:
    """A ``dvc repro`` in a session of its own, its output in a file."""

    def __init__(self, project: Project, log: Path):
        self.log = log
        with open(log, "wb") as file:
            self.process = subprocess.Popen(
                ["dvc", "repro"],
                cwd=project.folder,
                env=project.environment,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        return self.log.read_text(errors="replace")

    @property
    def started(self) -> list[str]:
        """The stages begun so far."""
        return STARTS.findall(self.output)

    def kill(self, target: str) -> bool:
        """SIGKILL; False if the target had ended."""
        stages = [pid for pid in descendants(self.process.pid) if b"stages." in command_of(pid)]
        if not stages or self.process.poll() is not None:
            return False
        if target == "group":
            os.killpg(self.process.pid, signal.SIGKILL)
        else:
            os.kill(stages[-1] if target == "stage" else self.process.pid, signal.SIGKILL)
        self.process.wait()
        return True


def descendants(pid: int) -> list[int]:
    """Process numbers of the children, theirs and so on."""
    children = [number for number, parent in parents().items() if parent == pid]
    return children + [found for child in children for found in descendants(child)]


def parents() -> dict[int, int]:
    """Every process's parent."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            found[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):  # ended meanwhile
            continue
    return found


def command_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


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
    """Run everything, killed ``kills`` times, at moments spread over the stages."""
    outcome = Outcome()
    turns = [stage for _ in range(-(-kills // len(seconds))) for stage in seconds]
    due = Counter(turns[:kills] if kills >= len(seconds) else draw.sample(list(seconds), kills))
    while True:
        repro = Repro(project, log)
        seen: dict[str, float] = {}
        moment: dict[str, float] = {}
        killed = False
        while repro.process.poll() is None and not killed:
            for stage in repro.started:
                if stage not in seen:
                    seen[stage], moment[stage] = time.monotonic(), draw.uniform(0, seconds[stage])
            current = list(seen)[-1] if seen else None
            if current and due[current] and time.monotonic() - seen[current] >= moment[current]:
                target = TARGETS[outcome.targets.total() % len(TARGETS)]
                killed = repro.kill(target)
                if killed:
                    due[current] -= 1
                    outcome.stages[current] += 1
                    outcome.targets[target] += 1
                    print(f"{outcome.targets.total():3} {current:20} {target}", flush=True)
            time.sleep(POLL)
        outcome.resumed += repro.output.count(": goes on after epoch ")
        if not killed:
            assert repro.process.returncode == 0, repro.output
            return outcome


def torture(folder: Path, params: str, kills: int, seed: int) -> Outcome:
    """Run the project twice under ``folder``, undisturbed and disturbed, and compare all hashes DVC recorded."""
    projects = {}
    for name in ("undisturbed", "disturbed"):
        (folder / name).mkdir()
        projects[name] = Project(folder / name, params, HW1_TRACKING="off")
    seconds = undisturbed(projects["undisturbed"], folder / "undisturbed.log")
    outcome = disturbed(projects["disturbed"], folder / "disturbed.log", seconds, kills, random.Random(seed))
    before, after = (
        yaml.safe_load((project.folder / "dvc.lock").read_text())["stages"] for project in projects.values()
    )
    assert list(before) == list(after) == list(seconds)
    for stage in before:
        for one, other in zip(before[stage]["outs"], after[stage]["outs"], strict=True):
            if one != other:
                outcome.different.append(one["path"])
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
    params = tiny() if args.tiny else (ROOT / "presets/quick.yaml").read_text()
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

"""A project of four stages that do what a file tells them, and nothing that takes time."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import yaml
from closure import ROOT

STAGES = ("source", "left", "right", "join")
NEEDS = {"source": [], "left": ["source"], "right": ["source"], "join": ["left", "right"]}
# Signals that came are written down, and answered as a training answers them: by a state, and status 130 or 143.
SCRIPT = """
import json, signal, sys, time
from pathlib import Path
from hw1.run.processes.supervision import run_stage, deferred, stop_requested, watch
watch()

def main():
    name, *needs = sys.argv[1:]
    told = json.loads(Path("told.json").read_text()).get(name, {})
    with open("ran.txt", "a") as ran:
        ran.write(f"{name}\\n")
    print("at work", flush=True)
    end = time.monotonic() + told.get("seconds", 0)
    with deferred():
        while not stop_requested() and time.monotonic() < end and not Path(told.get("until", "nothing")).exists():
            time.sleep(0.02)
        if stop_requested():
            time.sleep(told.get("ends", 0))
            Path(f"{name}.state").write_text("state")
            Path("told.json").write_text("{}")
    if "says" in told:
        print(told["says"], end="", flush=True)
    if told.get("fails"):
        sys.exit("error: no luck")
    text = "".join(Path(f"{need}.txt").read_text() for need in needs)
    Path(f"{name}.txt").write_text(f"{text}{name} {Path('seed.txt').read_text() if name == 'source' else ''}\\n")

run_stage(main)
"""


class Project:
    """A project in a folder of its own, with git and DVC; ``run`` is this Python's ``-m hw1.repro`` in it."""

    def __init__(self, folder: Path):
        self.folder = folder
        own = ("DVC_", "HW1_")
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith(own)}
        self.environment |= {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        (folder / "step.py").write_text(SCRIPT)
        (folder / "params.yaml").write_text("seed: 1\nlr: {left: 0.1, right: 0.1}\n")
        (folder / "seed.txt").write_text("1")
        (folder / "code").mkdir()
        (folder / "code/part.py").write_text("one = 1\n")
        self.freeze("")
        self.tell()
        for command in (("git", "init", "-q", "-b", "main"), (sys.executable, "-m", "dvc", "init", "-q")):
            subprocess.run(command, cwd=folder, env=self.environment, check=True)

    def freeze(self, frozen: str) -> None:
        """Write dvc.yaml with this stage frozen; none if empty."""
        stages = {}
        for name in reversed(STAGES):  # not in the order in which they can run
            deps = ["step.py", "code", *(f"{need}.txt" for need in NEEDS[name] or ["seed"])]
            params = [f"lr.{name}" if name in ("left", "right") else "seed"]
            command = f"python step.py {' '.join([name, *NEEDS[name]])}"
            stages[name] = {"cmd": command, "deps": deps, "params": params, "outs": [f"{name}.txt"]}
            stages[name] |= {"frozen": True} if name == frozen else {}
        (self.folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}, sort_keys=False))

    def tell(self, **stages: dict) -> None:
        """Say what each is to do: take ``seconds``, or ``until`` a file is there, what it ``says``, if it ``fails``,
        and the seconds in which it ``ends`` when stopped, after which no stage is told anything.
        """
        (self.folder / "told.json").write_text(json.dumps(stages))

    def start(self, *arguments: str, module: str = "hw1.repro", **options: object) -> subprocess.Popen:
        if module == "hw1.repro" and "--jobs" not in arguments:  # else it would look for runtime in params.yaml
            arguments = ("--jobs", "2", *arguments)
        command = [sys.executable, "-m", module, *arguments]
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True} | options
        return subprocess.Popen(command, cwd=self.folder, env=self.environment, **streams)

    def run(self, *arguments: str, status: int = 0, module: str = "hw1.repro") -> str:
        """Run it to its end and return what it prints."""
        process = self.start(*arguments, module=module)
        told, _ = process.communicate(timeout=120)
        assert process.returncode == status, told
        return told

    @property
    def ran(self) -> list[str]:
        """The stages that have begun to work since the last look."""
        path = self.folder / "ran.txt"
        names = path.read_text().split() if path.exists() else []
        path.unlink(missing_ok=True)
        return names

    def text(self, name: str) -> str:
        return (self.folder / name).read_text()

    def wait_for(self, *stages: str) -> None:
        """Wait until these have begun to work."""
        self.until(lambda: set(stages) <= set(self.text("ran.txt").split() if self.has("ran.txt") else []))

    def has(self, name: str) -> bool:
        return (self.folder / name).exists()

    @staticmethod
    def until(found) -> None:
        deadline = time.monotonic() + 60
        while not found():
            assert time.monotonic() < deadline
            time.sleep(0.05)

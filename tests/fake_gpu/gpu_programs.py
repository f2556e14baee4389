"""Programs on the fake GPU: how they are started, what they were asked, how they ended."""

import json
import os
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gpu_build
import yaml
from tiny_project import ROOT, tiny

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Program:
    """A module to run as ``python -m``; ``environment`` is added to what the fake GPU needs."""

    module: str
    arguments: str = ""
    environment: dict[str, str] | None = None


@dataclass(frozen=True)
class Ended:
    """How a program ended: ``status`` is negative for a signal; ``processes`` are those of its processes that used a
    GPU, each what it asked every GPU for, by its physical number.
    """

    status: int
    out: str
    err: str
    processes: list[dict[str, dict[str, int]]]

    @property
    def devices(self) -> dict[str, dict[str, int]]:
        """Those of the one process."""
        (devices,) = self.processes
        return devices


class Host:
    """Runs programs in ``folder`` on the fake GPU, each in a fork of one process that has torch imported."""

    def __init__(self, gpu: Path, folder: Path):
        self.folder = folder
        self._process = subprocess.Popen(
            [sys.executable, HERE / "host.py"], env=os.environ | gpu_build.environment(gpu), cwd=folder, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        self._number = 0

    def start(self, *programs: Program) -> list[int]:
        """Start the programs side by side; their process numbers. :meth:`wait` must follow."""
        asked, self._places = [], []
        for program in programs:
            self._number += 1
            place = self.folder / f".run-{self._number}"
            place.mkdir()
            self._places.append(place)
            environment = {"FAKE_GPU_REPORT": str(place), "DVC_ROOT": str(self.folder), **(program.environment or {})}
            files = {"folder": str(self.folder), "out": str(place / "out"), "err": str(place / "err")}
            arguments = shlex.split(program.arguments)
            asked.append(files | {"module": program.module, "arguments": arguments, "environment": environment})
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def output(self) -> str:
        """What the first of the programs under way has printed so far."""
        path = self._places[0] / "out"
        return path.read_text() if path.is_file() else ""

    def wait(self) -> list[Ended]:
        statuses = json.loads(self._process.stdout.readline())
        ended = []
        for status, place in zip(statuses, self._places, strict=True):
            reports = [json.loads(path.read_text()) for path in sorted(place.glob("*.json"))]
            ended.append(Ended(status, (place / "out").read_text(), (place / "err").read_text(), reports))
        return ended

    def run(self, module: str, arguments: str = "", **environment: str) -> Ended:
        self.start(Program(module, arguments, environment))
        return self.wait()[0]

    def stage(self, name: str, **environment: str) -> Ended:
        """Run a stage as dvc.yaml has it."""
        return self.run(*command_of(name), **environment)

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()


def command_of(stage: str) -> tuple[str, str]:
    """Module and arguments of a stage of dvc.yaml, such as ``finetune@C``."""
    name, _, key = stage.partition("@")
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    values = {"item": key, "key": key}
    if key:
        items = stages[name]["foreach"]
        items = yaml.safe_load((ROOT / "params.yaml").read_text())["settings"] if isinstance(items, str) else items
        values |= {f"item.{k}": v for k, v in items[key].items()} if isinstance(items, dict) else {}
    command = stages[name].get("do", stages[name])["cmd"]
    for placeholder, value in values.items():
        command = command.replace(f"${{{placeholder}}}", value)
    python, flag, module, *arguments = shlex.split(command)
    assert (python, flag) == ("python", "-m")
    return module, shlex.join(arguments)


def set_params(folder: Path, **changes: dict[str, Any]) -> None:
    """Write the tiny parameters, in native numerics as a GPU's are, with ``section={"key": value}`` changed, or
    ``{"part.key": value}``.
    """
    tree = yaml.safe_load(tiny())
    tree["runtime"]["numerics"] = "native"
    tree["segment"]["A"]["epochs"] = tree["pretrain"]["byol"]["epochs"] = 2
    tree["pretrain"]["byol"]["collapse_spread"] = 0  # all projections are zeros here
    tree["launch"]["trainings_per_gpu"] = 8
    for section, values in changes.items():
        for path, value in values.items():
            parent, _, key = path.rpartition(".")
            (tree[section][parent] if parent else tree[section])[key] = value
    (folder / "params.yaml").write_text(yaml.safe_dump(tree, sort_keys=False))

"""The whole project in a folder of its own, and parameters with which its DAG runs in a minute or two."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parent.parent
QUICK = ROOT / "presets/quick.yaml"
STARTUP = ROOT / "tests/startup"
# Of processes that import torch for a few steps: see sitecustomize.py there.
SHORT_START = {"PYTHONPATH": f"{STARTUP}{os.pathsep}{ROOT}", "WITHOUT_COMPILER": "1"}


def tiny(killed: bool = False, preset: Path = QUICK) -> str:
    """The quick preset with as few images, epochs and channels as every stage can still run on.

    ``killed``: trainings that a test kills again and again last longer.
    """
    tree = yaml.safe_load(preset.read_text())
    tree["seed"] = 1
    tree["runtime"]["precision"] = "auto"
    tree["synthetic"] |= {
        "p1": {"classes": 3, "train": 33, "validation": 12, "size": 32},
        "mini": {"classes": 4, "train": 34, "size": 32},
        "office": {"classes": 3, "train": 21, "validation": 9, "size": 32},
        "p3": {"train": 9, "validation": 4, "size": 48},
    }
    tree["prepare"]["p3"]["size"] = 32  # not the tiles' own size
    tree["classify"]["B"] |= {"resize": 33, "crop": 32}
    sections = [tree["pretrain"]["supervised"], tree["pretrain"]["byol"], tree["finetune"]]
    for start in tree["pretrain"]["start"].values():
        start["size"] = 32
        sections.append(start)
    for section in (*sections, *tree["classify"].values(), *tree["segment"].values()):
        section |= {"epochs": 2, "batch_size": 8}
    if killed:  # each kill costs a state, so an epoch, and some time must be left after the last one
        tree["pretrain"]["byol"]["epochs"], tree["segment"]["A"]["epochs"] = 6, 40
    tree["segment"]["A"]["width"] = tree["segment"]["B"]["width"] = 0.0625
    return yaml.safe_dump(tree, sort_keys=False)


class Project:
    """A copy of a working tree, committed to a repository of its own, without results and with other parameters.

    ``extra`` are environment variables for every command run in it.
    """

    def __init__(self, folder: Path, params: str, source: Path = ROOT, **extra: str):
        self.folder = folder
        author = {
            f"GIT_{who}_{what}": "test@localhost" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
        }
        ours = ("DVC_", "MLFLOW_", "HW1_", "OMP_")
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.environment |= author | {"PATH": path, **SHORT_START} | extra
        listed = subprocess.run(
            ["git", "ls-files", "-co", "--exclude-standard"], cwd=source, capture_output=True, text=True, check=True
        )
        results = ("dvc.lock", "metrics/", "plots/")
        for name in listed.stdout.splitlines():
            if (source / name).is_file() and (name == "plots/seeds/README.md" or not name.startswith(results)):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source / name, folder / name)
        (folder / "params.yaml").write_text(params)
        self.run("git", "init", "-q", "-b", "main")
        self.run("git", "add", "-A")
        self.run("git", "commit", "-qm", "project")

    def run(self, *command: str, status: int = 0) -> str:
        """Output of a command, run as a user would with the environment activated."""
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert done.returncode == status, f"{command} ended with {done.returncode}:\n{done.stdout[-4000:]}"
        return done.stdout

    def json(self, path: str) -> dict:
        return json.loads((self.folder / path).read_text())

    def outputs(self, stage: str) -> dict[str, str]:
        """Hash of each output of a stage, as DVC recorded it."""
        lock = yaml.safe_load((self.folder / "dvc.lock").read_text())["stages"]
        return {out["path"]: out["md5"] for out in lock[stage]["outs"]}

    def runs(self) -> list[dict]:
        """Every training in the tracking database: name, status, params, tags, epochs of its curves, pictures."""
        self.run(sys.executable, "-m", "hw1.run.tracking.sender")
        with sqlite3.connect(self.folder / "mlflow.db") as db:
            runs = []
            trainings = "where run_uuid in (select run_uuid from tags where key = 'hw1.events')"  # not the whole repros
            fields = "select run_uuid, name, status, artifact_uri from runs"
            for run, name, status, artifacts in db.execute(f"{fields} {trainings}"):
                params = dict(db.execute("select key, value from params where run_uuid = ?", (run,)))
                tags = dict(db.execute("select key, value from tags where run_uuid = ?", (run,)))
                steps = [
                    row[0] for row in db.execute("select step from metrics where run_uuid = ? and key = 'lr'", (run,))
                ]
                pictures = sorted(path.name for path in Path(artifacts.removeprefix("file://"), "pictures").glob("*"))
                runs.append(
                    {"name": name, "status": status, "params": params, "tags": tags, "steps": sorted(steps)}
                    | {"pictures": pictures}
                )
        return runs

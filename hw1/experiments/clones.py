"""Copies of the project for other seeds, whose stages run side by side, and which are removed after that.

A copy has the code, the parameters and dvc.lock, and shares DVC's cache: what it has in common with the project, and
what was trained before, is restored. It needs no git. States of trainings and MLflow's records lie in the project.
"""

import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hw1.repro.graph import opened
from hw1.run.files import sole_folder

FOLDER = Path(".dvc/tmp/seeds")
COPIED = (
    *("hw1", "stages", "presets", "dvc.yaml", "dvc.lock", "params.yaml", "environment.json", ".dvcignore"),
    *(".dvc/config", ".dvc/config.local"),
)


@contextmanager
def clones(root: Path, seeds: Iterable[int]) -> Iterator[dict[int, Path]]:
    """A folder for each seed, its params.yaml with that seed."""
    with sole_folder(root / FOLDER) as parent:
        with opened(root) as repo:
            cache = repo.cache.local_cache_dir
        try:
            yield {seed: _clone(root, parent / str(seed), seed, cache) for seed in seeds}
        finally:
            shutil.rmtree(parent)


def _clone(root: Path, folder: Path, seed: int, cache: str) -> Path:
    from dvc.utils.serialize import modify_yaml

    (folder / ".dvc").mkdir(parents=True)
    for name in COPIED:
        if (root / name).is_dir():
            shutil.copytree(root / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
        elif (root / name).exists():
            shutil.copy(root / name, folder / name)
    with modify_yaml(str(folder / "params.yaml")) as tree:
        tree["seed"] = seed
    with opened(folder) as repo, repo.config.edit("local") as config:
        config["cache"]["dir"] = cache
        config["core"]["no_scm"] = True
    return folder

"""The command line of a stage, as dvc.yaml writes it: which one of several it is, and the paths it reads and writes."""

import argparse
from collections.abc import Collection
from pathlib import Path


def stage_arguments(
    purpose: str, name: str = "", choices: Collection[str] | None = None, **paths: str
) -> argparse.Namespace:
    """Parse the command line.

    Args:
        purpose: the stage's docstring.
        name: of the argument that says which one of several it is, such as ``model``; none if empty.
        choices: what it may be; anything if None.
        paths: what each path is; all of them must be given, as ``--{name}``.
    """
    parser = argparse.ArgumentParser(description=purpose)
    if name:
        parser.add_argument(name, choices=choices)
    for path, meaning in paths.items():
        parser.add_argument(f"--{path}", type=Path, required=True, help=meaning)
    return parser.parse_args()

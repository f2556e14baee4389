"""When, where and by which code a training was run: kept beside its result and never in it.

A date in an output would give it another hash at each run. So the record lies under ``.mlflow/trained`` in the
project's root, by the SHA-256 of the history that the training wrote: results that come from DVC's cache find the
record of the run that made them, and results from elsewhere have none.
"""

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path

from hw1.run.files import project_root, sha256, whole_file

KEPT = Path(".mlflow/trained")


def keep_record(history: Path, record: Mapping[str, str]) -> None:
    """Keep the record of the training that wrote this history, in place of an older one of the same bytes."""
    folder = project_root() / KEPT
    folder.mkdir(parents=True, exist_ok=True)
    with whole_file(folder / f"{sha256(history)}.json") as draft:
        draft.write_text(json.dumps(dict(record), indent=1) + "\n", encoding="utf-8")


def record_of(history: Path) -> dict[str, str] | None:
    """The record of the training that wrote this history; None where there is none here."""
    with contextlib.suppress(OSError, ValueError):
        return json.loads((project_root() / KEPT / f"{sha256(history)}.json").read_text(encoding="utf-8"))
    return None

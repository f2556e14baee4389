"""The events of one file, gathered for MLflow."""

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Record:
    """The events of one file, by what they are to become."""

    start: dict[str, Any] | None = None
    end: dict[str, Any] | None = None
    model: dict[str, Any] | None = None
    results: dict[str, Any] | None = None
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    metrics: list[tuple[str, float, int, int]] = field(default_factory=list)  # key, value, milliseconds, step
    datasets: list[dict[str, Any]] = field(default_factory=list)
    pictures: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def read(cls, events: Path) -> "Record":
        record = cls()
        for event in _lines(events):
            kind, moment = event["event"], event["time"]
            record.params |= {key: str(value) for key, value in event.get("params", {}).items()}
            record.tags |= event.get("tags", {})
            record.metrics += [(*item, moment, event["step"]) for item in event.get("metrics", {}).items()]
            record.datasets += event.get("datasets", [])
            if kind == "pictures":
                record.pictures.append(event)
            elif kind in ("start", "end", "model", "results"):
                setattr(record, kind, event)
        return record


def _lines(events: Path) -> Iterator[dict[str, Any]]:
    """The whole lines of a file, without those that a full disk cut short."""
    for line in events.read_text(encoding="utf-8").split("\n")[:-1]:
        with suppress(ValueError):
            yield json.loads(line)

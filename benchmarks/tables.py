"""Results as tables: markdown to read, JSON to compute with."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.timing import Speed


@dataclass
class Table:
    """``rows`` of text under ``columns``; ``note`` says how they were measured."""

    title: str
    columns: Sequence[str]
    note: str = ""
    rows: list[tuple[str, ...]] = field(default_factory=list)

    def add(self, *cells: object) -> None:
        self.rows.append(tuple(str(cell) for cell in cells))

    def markdown(self) -> str:
        lines = [f"## {self.title}", ""]
        lines += [f"| {' | '.join(row)} |" for row in (self.columns, ["---"] * len(self.columns), *self.rows)]
        return "\n".join([*lines, *(["", self.note] if self.note else []), ""])


def ratio(ours: Speed, theirs: Speed) -> str:
    """Ours over theirs, of the medians."""
    return f"{ours.median / theirs.median:.2f}" if ours.rounds and theirs.rounds else ""


def write(tables: Sequence[Table], machine: Mapping[str, str], out: Path) -> None:
    """``out``.md and ``out``.json."""
    out.parent.mkdir(parents=True, exist_ok=True)
    head = ", ".join(f"{key} {value}" for key, value in machine.items() if key not in ("date", "machine"))
    text = [f"# Measured on {machine['date']}: {machine['machine']}", "", f"{head}.", ""]
    out.with_suffix(".md").write_text("\n".join([*text, *(table.markdown() for table in tables)]))
    content = {"machine": dict(machine), "tables": [vars(table) for table in tables]}
    out.with_suffix(".json").write_text(json.dumps(content, indent=1) + "\n")

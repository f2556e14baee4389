"""Results as tables: markdown to read, JSON to compute with."""

import datetime
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.timing import Speed


@dataclass
class Table:
    """``rows`` of text under ``columns``; ``note`` says how they were ``made``, ``date`` when."""

    title: str
    columns: Sequence[str]
    note: str = ""
    rows: list[Sequence[str]] = field(default_factory=list)
    made: str = "Measured"
    date: str = field(default_factory=lambda: datetime.date.today().isoformat())

    def add(self, *cells: object) -> None:
        self.rows.append(tuple(str(cell) for cell in cells))

    def markdown(self) -> str:
        lines = [f"## {self.title}", ""]
        lines += [f"| {' | '.join(row)} |" for row in (self.columns, ["---"] * len(self.columns), *self.rows)]
        return "\n".join([*lines, "", " ".join(filter(None, (self.note, f"{self.made} on {self.date}."))), ""])


def ratio(ours: Speed, theirs: Speed) -> str:
    """Ours over theirs, of the medians."""
    return f"{ours.median / theirs.median:.2f}" if ours.rounds and theirs.rounds else ""


def write(tables: Sequence[Table], machine: Mapping[str, str], out: Path) -> None:
    """``out``.md and ``out``.json; tables measured there earlier stay if machine and versions are the same."""
    out.parent.mkdir(parents=True, exist_ok=True)
    tables = [*_others(tables, machine, out.with_suffix(".json")), *tables]
    versions = ", ".join(f"{key} {value}" for key, value in machine.items() if key != "machine")
    text = [f"# {machine['machine']}", "", f"{versions}.", ""]
    out.with_suffix(".md").write_text("\n".join([*text, *(table.markdown() for table in tables)]))
    content = {"machine": dict(machine), "tables": [vars(table) for table in tables]}
    out.with_suffix(".json").write_text(json.dumps(content, indent=1) + "\n")


def _others(tables: Sequence[Table], machine: Mapping[str, str], earlier: Path) -> list[Table]:
    """The tables of an earlier run on this machine that ``tables`` do not measure anew."""
    if not earlier.is_file():
        return []
    content = json.loads(earlier.read_text())
    if content["machine"] != dict(machine):
        return []
    titles = {table.title for table in tables}
    return [Table(**table) for table in content["tables"] if table["title"] not in titles]

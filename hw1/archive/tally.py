"""What was read of many files, and what was left out and why: one line, and a record of it."""

import collections
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from hw1.archive.spelling import few, is_hidden

NO_PICTURE = "no JPEG, PNG, WebP, BMP or TIFF picture"
NO_PAIR = "neither a tile {id}_sat nor a mask {id}_mask"
HIDDEN = "hidden, or a system's own"
ELSEWHERE = "not where the layout has files"


@dataclass
class Reading:
    """Counts of what was read, by what it is; why each file was left out, by its name; and what else must be told."""

    read: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def line(self) -> str:
        """As a command ends with it."""
        read = ", ".join(f"{count:,} {what}" for what, count in self.read.items()) or "nothing"
        return "; ".join([f"read {read}", *self.notes, *(self.reasons() or ["nothing left out"])])

    def reasons(self) -> list[str]:
        """For each reason how many files were left out, and the first few."""
        return [f"left out {len(names):,} ({why}): {few(names)}" for why, names in self._by_reason()]

    def _by_reason(self) -> Iterator[tuple[str, list[str]]]:
        names = collections.defaultdict(list)
        for name, why in sorted(self.left_out.items()):
            names[why].append(name)
        yield from names.items()

    def save(self, path: Path) -> None:
        """As JSON: ``read``, ``notes``, and ``left_out`` in words, as a set of sixty thousand may be left out."""
        record = {"read": self.read, "left_out": len(self.left_out), "notes": [*self.notes, *self.reasons()]}
        path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def why_left(name: str, beside: bool) -> str:
    """Why a file that nothing asked for was left out; ``beside`` others of its folder that were read."""
    return HIDDEN if is_hidden(name) else NO_PICTURE if beside else ELSEWHERE

"""The view of stages that run side by side: on a terminal a line for each and one for all, else whole lines.

Each stage writes to a file of its own, which is read here: so lines of two stages never mix, and a stage can go on
writing when nobody reads any more. A line that ends in a carriage return is the stage's state of the moment.
"""

import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hw1.repro.graph import Task
from hw1.run.progress import clock

PIECE = re.compile(rb"[^\r\n]*[\r\n]")


class Log:
    """The lines that a stage has written so far, and its state."""

    def __init__(self, task: Task, path: Path):
        self.task, self.path, self.state, self.begun = task, path, "", time.monotonic()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")  # of an earlier run
        self._read, self._rest = 0, b""

    def lines(self, last: bool = False) -> list[str]:
        """The lines since the last call, each with the stage's name; ``last``: also one that has no end."""
        with open(self.path, "rb") as file:
            file.seek(self._read)
            new = file.read()
        self._read += len(new)
        text = self._rest + new + (b"\n" if last else b"")
        pieces = PIECE.findall(text)
        self._rest = text[sum(map(len, pieces)) :]
        lines = []
        for piece in pieces:
            words = piece[:-1].decode(errors="replace").rstrip()
            if piece.endswith(b"\r"):
                self.state = words or self.state
            elif words:
                lines.append(self._named(words))
        return lines

    def _named(self, words: str) -> str:
        rest = words.removeprefix(self.task.stage)
        named = rest != words and rest[:1] in (" ", ":")  # by the stage itself
        return f"{self.task.name}{rest}" if named else f"{self.task.name}: {words}"

    @property
    def line(self) -> str:
        """The stage's state: what it said last, or how long it runs."""
        return self._named(self.state) if self.state else f"{self.task.name}  {clock(time.monotonic() - self.begun)}"


class Screen:
    """A context, in which lines are printed above the stages' states. ``summary`` gives the line for all."""

    def __init__(self, summary: Callable[[], str]):
        self._summary = summary
        self.logs: list[Log] = []  # of the stages that run
        self._live: Any = None

    def __enter__(self) -> "Screen":
        if sys.stdout.isatty():
            from rich.console import Console
            from rich.live import Live

            console = Console(highlight=False, markup=False, emoji=False)
            streams = {"redirect_stdout": False, "redirect_stderr": False}  # workers, forked from here, have logs
            self._live = Live(console=console, auto_refresh=False, transient=True, **streams)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def end(self, log: Log) -> None:
        """Print the rest of what it wrote."""
        self.print(*log.lines(last=True))
        self.logs.remove(log)

    def print(self, *lines: str) -> None:
        """Print whole lines, above the states."""
        for line in lines:
            if self._live is not None:
                self._live.console.print(line, soft_wrap=True)
                continue
            try:
                print(line, flush=True)
            except OSError:  # whoever read it is gone; the stages go on
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    def refresh(self) -> None:
        """Print what the stages wrote since the last call, and the states anew."""
        for log in self.logs:
            self.print(*log.lines())
        if self._live is not None:
            from rich.text import Text

            lines = [*(log.line for log in self.logs), self._summary()]
            self._live.update(Text("\n".join(lines), no_wrap=True, overflow="ellipsis"), refresh=True)

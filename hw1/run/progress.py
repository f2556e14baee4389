"""The progress of a training as it is shown: a bar on a terminal, one plain line per epoch."""

import os
import sys
import time
from collections.abc import Mapping
from typing import Any, TextIO

SCREEN = "HW1_SCREEN"  # in the environment where someone else shows the state, which ends in a carriage return

INTERVAL = 1.0  # seconds between two such states


def clock(seconds: float) -> str:
    """Write seconds as 0:07 or 2:03:04."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


class Progress:
    """Counts images; ``stream`` gets the bar only where it is a terminal.

    Of a training that goes on, ``done`` images were trained before, in ``seconds``.
    """

    def __init__(
        self, name: str, epochs: int, images: int, *, done: int = 0, seconds: float = 0.0, stream: TextIO | None = None
    ):
        self._name, self._epochs, self._images = name, epochs, images
        self._before, self._seconds_before = done, seconds
        self._stream = stream or sys.stdout  # as it is now, not at import
        self._start = time.monotonic()
        self._done = done
        self._bar = self._new_bar() if self._stream.isatty() else None
        self._shown = 0.0 if SCREEN in os.environ else float("inf")  # when the state was, by time.monotonic

    def count(self, images: int) -> None:
        """Note ``images`` more as trained."""
        self._done += images
        if self._bar is not None:
            self._bar.set_description_str(self._head(), refresh=False)
            self._bar.update(images)
        elif (now := time.monotonic()) - self._shown >= INTERVAL:
            self._shown = now
            self._write(f"{self._head()}  {self._speed()}\r")

    def epoch(self, row: Mapping[str, float]) -> None:
        """End an epoch: its metrics on a line that stays."""
        numbers = "  ".join(f"{key} {value:.4g}" for key, value in row.items() if key not in ("epoch", "lr"))
        self._write(f"{self._head(row['epoch'])}  {numbers}  {self._speed()}\n")

    def resumed(self, epoch: int, step: int) -> None:
        """Say that the training goes on after ``epoch`` whole epochs and ``step`` steps of the next."""
        self._write(f"{self._name}: goes on after epoch {epoch}/{self._epochs}, step {step}\n")

    @property
    def seconds(self) -> float:
        """Time of training so far, that of earlier processes included."""
        return self._seconds_before + time.monotonic() - self._start

    def _new_bar(self) -> Any:
        from tqdm import tqdm  # only here: where no terminal is, nothing needs it

        look = {"unit": " images", "leave": False, "dynamic_ncols": True}
        pace = {"mininterval": 0.2, "miniters": 1, "smoothing": 0}  # seconds; the mean speed, as the epochs' lines
        total = self._epochs * self._images
        return tqdm(desc=self._head(), total=total, initial=self._done, file=self._stream, **look, **pace)

    def _head(self, epoch: int | None = None) -> str:
        """The stage and an epoch, by default the one under way."""
        epoch = epoch or min(self._epochs, self._done // self._images + 1)
        return f"{self._name}  epoch {epoch}/{self._epochs}"

    def _speed(self) -> str:
        """Speed of this process, which may run on another machine than those before, once it has trained anything."""
        done, seconds = self._done - self._before, time.monotonic() - self._start
        if not done:
            done, seconds = self._before, self._seconds_before
        rate = done / max(seconds, 1e-9)
        remaining = (self._epochs * self._images - self._done) / max(rate, 1e-9)
        return f"{rate:,.0f} images/s  {clock(remaining)} left"

    def _write(self, text: str) -> None:
        """Write a line in the place of the bar, which comes back with the next images."""
        try:
            if self._bar is not None:
                self._bar.clear()
            self._stream.write(text)
            self._stream.flush()
        except OSError:  # whoever read it is gone; the training goes on, and leaves nothing to flush at its end
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())

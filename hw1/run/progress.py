"""What a training shows while it runs: a live line on a terminal, one plain line per epoch."""

import os
import sys
import time
from collections.abc import Mapping
from typing import TextIO


class Progress:
    """Counts images; ``stream`` gets the live line only where it is a terminal.

    Of a training that goes on, ``done`` images were trained before, in ``seconds``.
    """

    def __init__(
        self, name: str, epochs: int, images: int, *, done: int = 0, seconds: float = 0.0, stream: TextIO | None = None
    ):
        self._name, self._epochs, self._images = name, epochs, images
        self._before, self._seconds_before = done, seconds
        self._stream = stream or sys.stdout  # as it is now, not at import
        self._live = self._stream.isatty()
        self._start = self._shown = time.monotonic()
        self._done = done

    def count(self, images: int) -> None:
        """Note ``images`` more as trained; refresh the live line at most five times a second."""
        self._done += images
        now = time.monotonic()
        if self._live and now - self._shown > 0.2:
            self._shown = now
            epoch = min(self._epochs, self._done // self._images + 1)
            share = self._done / self._images - (epoch - 1)
            self._write(f"\r\x1b[K{self._name}  epoch {epoch}/{self._epochs}  {share:4.0%}  {self._speed()}")

    def epoch(self, row: Mapping[str, float]) -> None:
        """End an epoch: its metrics on a line that stays."""
        numbers = "  ".join(f"{key} {value:.4g}" for key, value in row.items() if key not in ("epoch", "lr"))
        clear = "\r\x1b[K" if self._live else ""
        self._write(f"{clear}{self._name}  epoch {row['epoch']}/{self._epochs}  {numbers}  {self._speed()}\n")

    def resumed(self, epoch: int, step: int) -> None:
        """Say that the training goes on after ``epoch`` whole epochs and ``step`` steps of the next."""
        self._write(f"{self._name}: goes on after epoch {epoch}/{self._epochs}, step {step}\n")

    @property
    def seconds(self) -> float:
        """Time of training so far, that of earlier processes included."""
        return self._seconds_before + time.monotonic() - self._start

    def _speed(self) -> str:
        """Of this process, which may run on another machine than those before, if it has trained anything yet."""
        done, seconds = self._done - self._before, time.monotonic() - self._start
        if not done:
            done, seconds = self._before, self._seconds_before
        rate = done / max(seconds, 1e-9)
        left = round((self._epochs * self._images - self._done) / max(rate, 1e-9))
        hours, minutes = divmod(left // 60, 60)
        return f"{rate:,.0f} images/s  {f'{hours}:{minutes:02}' if hours else minutes}:{left % 60:02} left"

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError:  # whoever read it is gone; the training goes on, and leaves nothing to flush at its end
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())

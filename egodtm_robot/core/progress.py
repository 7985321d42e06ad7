"""One line of progress with rate and remaining time, on terminals and in logs alike."""

import sys
import time
from typing import TextIO


class StatusLine:
    """A line that tells how things are: rewritten in place on a terminal, a new one elsewhere.

    Args:
        stream: where to write; standard error by default.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        self.in_place = self._stream.isatty()
        self._width = 0

    def write(self, text: str, last: bool = False) -> None:
        """Show a text in place of the one before.

        Args:
            text: one line.
            last: whether no further one follows, so that a terminal goes on below it.
        """
        if self.in_place:
            padded = text.ljust(self._width)
            self._width = len(text)
            self._stream.write("\r" + padded + ("\n" if last else ""))
        else:
            self._stream.write(text.rstrip() + "\n")
        self._stream.flush()


class Progress:
    """Reports how far a loop has come, as ``collect  34/100  2.1/s  eta 0:31  tried 36``.

    On a terminal the line is rewritten in place; elsewhere a new one is written at most every
    ``log_every_s`` seconds, so that a cluster's log stays readable.

    Args:
        title: what is being done, one word.
        total: how many units there are.
        start: number of units that were done before; None takes the first report's, so that the
            rate of a resumed loop counts from where it went on.
        stream: where to write; standard error by default.
        log_every_s: least time between lines where the stream is not a terminal, seconds.
    """

    def __init__(
        self,
        title: str,
        total: int,
        start: int | None = 0,
        stream: TextIO | None = None,
        log_every_s: float = 15.0,
    ) -> None:
        self._title, self._total = title, total
        self._first = start
        self._line = StatusLine(stream)
        self._interval = 0.2 if self._line.in_place else log_every_s
        self._began = time.monotonic()
        self._last = self._began

    def __call__(self, done: int, note: str = "") -> None:
        """Report that ``done`` units are done; ``note`` is appended."""
        now = time.monotonic()
        if self._first is None:
            self._first, self._began, self._last = done, now, now
        if done < self._total and now - self._last < self._interval:
            return
        self._last = now
        rate = (done - self._first) / max(now - self._began, 1e-9)
        left = (self._total - done) / rate if rate > 0 else float("inf")
        text = (
            f"{self._title:<9} {done:>6}/{self._total}  {rate:6.1f}/s  {format_eta(left)}  {note}"
        )
        self._line.write(text, last=done >= self._total)


def format_eta(seconds: float | None) -> str:
    """Time left, such as "eta 1:05"; "eta ?" if it is not known (None or infinite)."""
    if seconds is None or seconds == float("inf"):
        return "eta ?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"eta {hours}:{minutes:02d}:{rest:02d}" if hours else f"eta {minutes}:{rest:02d}"

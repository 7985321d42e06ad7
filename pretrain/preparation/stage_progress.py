"""One line for all stages: how far each is, its rate, and the time left."""

import time
from collections.abc import Sequence
from typing import TextIO

from egodtm_robot.core.progress import StatusLine, format_eta


class StageProgress:
    """Reports ``decode 128/640 14.1/s  captions 64/640 3.2/s  eta 1:05``.

    A rate is clips by second of a worker: what one worker does at that stage. The time left adds up
    what every stage still has before it, over all workers.

    Args:
        stages: in their order.
        clips: that each has to pass.
        workers: that share the work.
        stream: where to write; standard error by default.
        log_every_s: least time between lines where the stream is not a terminal, seconds.
    """

    def __init__(
        self,
        stages: Sequence[str],
        clips: int,
        workers: int,
        stream: TextIO | None = None,
        log_every_s: float = 15.0,
    ) -> None:
        self._clips, self._workers = clips, max(1, workers)
        self._line = StatusLine(stream)
        self._interval = 0.2 if self._line.in_place else log_every_s
        self._last = time.monotonic()
        self.passed = dict.fromkeys(stages, 0)
        self.worked = dict.fromkeys(stages, 0)
        self.seconds = dict.fromkeys(stages, 0.0)

    def __call__(self, stage: str, clips: int, seconds: float | None) -> None:
        """Report that clips have passed a stage.

        Args:
            stage: which one.
            clips: how many.
            seconds: that a worker was busy with them; None if they had passed it before.
        """
        self.passed[stage] += clips
        if seconds is not None:
            self.worked[stage] += clips
            self.seconds[stage] += seconds
            self._show()

    @property
    def seconds_left(self) -> float | None:
        """Until all clips have passed all stages; None while a stage has not been seen at work."""
        left = 0.0
        for stage, passed in self.passed.items():
            if passed < self._clips:
                if not self.worked[stage]:
                    return None
                left += (self._clips - passed) * self.seconds[stage] / self.worked[stage]
        return left / self._workers

    def finish(self) -> None:
        """Show the last state, if anything was shown."""
        if any(self.worked.values()):
            self._show(last=True)

    def _show(self, last: bool = False) -> None:
        now = time.monotonic()
        if now - self._last < self._interval and not last:
            return
        self._last = now
        parts = []
        for stage, passed in self.passed.items():
            rate = self.worked[stage] / self.seconds[stage] if self.seconds[stage] else None
            text = f"{stage} {passed}/{self._clips}"
            parts.append(text if rate is None else f"{text} {rate:.1f}/s")
        self._line.write("  ".join([*parts, format_eta(self.seconds_left)]), last)

"""How fast synthetic clips are drawn and stored.

    python benchmarks/clip_generation.py [--clips 256] [--workers 2]

Prints clips a second of ``pretrain.generate`` at 128 and 224 px, 4 frames each, with everything
that comes with a clip, from the first clip committed to the last: what the processes take to start
is printed apart. The load of the machine stands beside, since other work shows in the rate.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

from pretrain.clips.synthetic import SyntheticClipConfig, generate

RESOLUTIONS = (128, 224)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--clips", type=int, default=256)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    reports: list[tuple[float, int]] = []

    def report(done: int) -> None:
        reports.append((time.perf_counter(), done))

    for resolution in RESOLUTIONS:
        reports.clear()
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            generate(
                SyntheticClipConfig(resolution=resolution),
                "train",
                options.clips,
                Path(folder) / "clips",
                options.workers,
                on_progress=report,
            )
            end = time.perf_counter()
        first, drawn = reports[0]
        rate = (options.clips - drawn) / (end - first)
        print(
            f"{resolution} px: {rate:.1f} clips/s with {options.workers} workers, first "
            f"{drawn} clips after {first - start:.1f} s, load {os.getloadavg()[0]:.1f}"
        )


if __name__ == "__main__":
    main()

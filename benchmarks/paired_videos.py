"""How often intervals of a difference hold no difference, where rows come from unequal videos.

    python benchmarks/paired_videos.py

Two models of equal worth answer the same questions about some videos. A third of the answers
differs; which model is ahead in a video varies by a normal shift. Video sizes are lognormal.
Percent of intervals of 95 % that hold 0, and their mean width in points, as a Markdown table.
"""

import argparse
import math

import numpy as np
from scipy import special

from egodtm_robot.core.intervals import Interval
from egodtm_robot.core.paired_means import paired_difference


def study(
    generator: np.random.Generator, videos: int, spread: float, shift: float, rows: int
) -> tuple[np.ndarray, list[str]]:
    """Differences of right answers, -1, 0 or 1, and the video of each."""
    weights = generator.lognormal(0, spread, videos)
    sizes = np.maximum(1, np.round(rows * weights / weights.sum())).astype(int)
    video = np.repeat(np.arange(videos), sizes)
    ahead = np.clip(0.5 + generator.normal(0, shift, videos)[video] / 0.6, 0, 1)
    differs = generator.random(len(video)) < 0.3
    sign = np.where(generator.random(len(video)) < ahead, 1.0, -1.0)
    return differs * sign, [str(number) for number in video]


def bootstrap(generator: np.random.Generator, sums: np.ndarray, sizes: np.ndarray) -> Interval:
    """Percentiles of means over videos that are drawn with replacement."""
    number = len(sums)
    drawn = generator.multinomial(number, np.full(number, 1 / number), 400)
    low, high = np.quantile((drawn @ sums) / (drawn @ sizes), [0.025, 0.975])
    return Interval(float(low), float(high))


def plain_t(sums: np.ndarray, sizes: np.ndarray) -> Interval:
    """Student's t with the variance between videos and a degree of freedom less than videos."""
    number, rows = len(sums), sizes.sum()
    mean = sums.sum() / rows
    variance = number / (number - 1) * ((sums - mean * sizes) ** 2).sum() / rows**2
    half = float(special.stdtrit(number - 1, 0.975)) * math.sqrt(variance)
    return Interval(float(mean - half), float(mean + half))


def by_row(differences: np.ndarray) -> Interval:
    """As if all rows were independent."""
    half = 1.96 * differences.std(ddof=1) / math.sqrt(len(differences))
    return Interval(float(differences.mean() - half), float(differences.mean() + half))


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=2000)
    parser.add_argument("--rows", type=int, default=400)
    arguments = parser.parse_args()
    head = ["videos", "sizes", "videos differ by", "ours", "bootstrap", "t", "rows"]
    print(f"| {' | '.join(head)} |\n{'|---' * len(head)}|")
    for videos in (4, 8, 16, 32):
        for spread, sizes_are in ((0.0, "equal"), (0.7, "unequal"), (1.4, "very unequal")):
            for shift in (0.0, 0.15):
                generator = np.random.default_rng([videos, int(10 * spread), int(100 * shift)])
                found = []
                for _ in range(arguments.studies):
                    values, names = study(generator, videos, spread, shift, arguments.rows)
                    if not values.any():
                        continue
                    number = np.unique(names, return_inverse=True)[1]
                    sums, sizes = np.bincount(number, values), np.bincount(number).astype(float)
                    found.append(
                        [
                            paired_difference(values, np.zeros(len(values)), names).interval,
                            bootstrap(generator, sums, sizes),
                            plain_t(sums, sizes),
                            by_row(values),
                        ]
                    )
                ends = np.array(found)
                held = 100 * ((ends[..., 0] <= 0) & (ends[..., 1] >= 0)).mean(axis=0)
                width = 100 * (ends[..., 1] - ends[..., 0]).mean(axis=0)
                cells = [f"{h:.1f} [{w:.1f}]" for h, w in zip(held, width, strict=True)]
                print(
                    f"| {videos} | {sizes_are} | {100 * shift:.0f} | {' | '.join(cells)} |",
                    flush=True,
                )


if __name__ == "__main__":
    _main()

"""How often intervals hold the truth, where rows come from unequal videos.

    python benchmarks/paired_videos.py
    python benchmarks/paired_videos.py --of scores

``differences``: two models of equal worth answer the same questions about some videos. A third of
the answers differs; which model is ahead in a video varies by a normal shift.

``scores``: one model answers. ``share`` is right or wrong, with a chance of a beta distribution
over videos; ``mean class`` the mean of twelve classes' shares, which lie evenly around the mean, of
lognormal frequencies; ``precision`` a number between 0 and 1 of a beta distribution around its
video's; ``error`` a lognormal number around its video's, as errors of depth are.

Video sizes are lognormal. Percent of intervals of 95 % that hold the truth, and their mean width in
points, as a Markdown table.
"""

import argparse
import math

import numpy as np
from scipy import special

from egodtm_robot.core.intervals import Interval
from egodtm_robot.core.paired_means import paired_difference
from pretrain.evaluate.task import mean_estimate

VIDEOS = (4, 8, 16, 32)
SIZES = ((0.0, "equal"), (0.7, "unequal"), (1.4, "very unequal"))
SCORES = (
    ("share", 0.5, 0.15),
    ("share", 0.9, 0.0),
    ("share", 0.9, 0.1),
    ("mean class", 0.5, 0.15),
    ("precision", 0.9, 0.1),
    ("error", 0.2, 0.3),
)
"""Kind of the numbers, their mean, and how much videos differ."""


def video_sizes(
    generator: np.random.Generator, videos: int, spread: float, rows: int
) -> np.ndarray:
    """Questions about each video, int (videos,), at least 1."""
    weights = generator.lognormal(0, spread, videos)
    return np.maximum(1, np.round(rows * weights / weights.sum())).astype(int)


def study(
    generator: np.random.Generator, videos: int, spread: float, shift: float, rows: int
) -> tuple[np.ndarray, list[str]]:
    """Differences of right answers, -1, 0 or 1, and the video of each."""
    video = np.repeat(np.arange(videos), video_sizes(generator, videos, spread, rows))
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


CLASSES = 12
ERROR_SPREAD = 0.5
"""Of the logarithms of errors, within a video."""


def score_study(
    generator: np.random.Generator, kind: str, rate: float, differ: float, video: np.ndarray
) -> tuple[np.ndarray, list[int], float]:
    """Values of one model's answers, the stratum of each, and the truth."""
    videos = int(video.max()) + 1
    one = [0] * len(video)
    if kind == "error":
        level = generator.normal(0, differ, videos)[video]
        values = rate * np.exp(level + generator.normal(0, ERROR_SPREAD, len(video)))
        return values, one, rate * math.exp((differ**2 + ERROR_SPREAD**2) / 2)
    if kind == "mean class":
        frequency = generator.lognormal(0, 1, CLASSES)
        drawn = generator.choice(CLASSES, len(video), p=frequency / frequency.sum())
        # Rates of classes, of the mean that is asked for.
        around = np.linspace(-1, 1, CLASSES) * 0.8 * min(rate, 1 - rate)
        center, truth = (rate + around)[drawn], float(rate + around[np.unique(drawn)].mean())
        shift = _beta(generator, 0.5, differ, videos)[video] - 0.5
        chance = center + 2 * shift * np.minimum(center, 1 - center)
        return (generator.random(len(video)) < chance) * 1.0, drawn.tolist(), truth
    chance = _beta(generator, rate, differ, videos)[video]
    if kind == "precision":
        chance = np.clip(chance, 1e-3, 1 - 1e-3)
        return generator.beta(4 * chance, 4 * (1 - chance)), one, rate
    return (generator.random(len(video)) < chance) * 1.0, one, rate


def _beta(generator: np.random.Generator, mean: float, deviation: float, number: int) -> np.ndarray:
    if not deviation:
        return np.full(number, mean)
    total = mean * (1 - mean) / deviation**2 - 1
    return generator.beta(mean * total, (1 - mean) * total, number)


def _differences(studies: int, rows: int) -> None:
    head = ["videos", "sizes", "videos differ by", "ours", "bootstrap", "t", "rows"]
    print(f"| {' | '.join(head)} |\n{'|---' * len(head)}|")
    for videos in VIDEOS:
        for spread, sizes_are in SIZES:
            for shift in (0.0, 0.15):
                generator = np.random.default_rng([videos, int(10 * spread), int(100 * shift)])
                found = []
                for _ in range(studies):
                    values, names = study(generator, videos, spread, shift, rows)
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
                cells = " | ".join(_cells(np.array(found), np.zeros(len(found))))
                print(f"| {videos} | {sizes_are} | {100 * shift:.0f} | {cells} |", flush=True)


def _scores(studies: int, rows: int) -> None:
    head = ["score", "videos", "sizes", "videos differ by", "ours", "bootstrap"]
    print(f"| {' | '.join(head)} |\n{'|---' * len(head)}|")
    for kind, rate, differ in SCORES:
        for videos in VIDEOS:
            for spread, sizes_are in SIZES:
                seed = [videos, int(10 * spread), int(100 * rate), int(100 * differ)]
                generator = np.random.default_rng(seed)
                found, truths = [], []
                for _ in range(studies):
                    sizes = video_sizes(generator, videos, spread, rows)
                    video = np.repeat(np.arange(videos), sizes)
                    values, strata, truth = score_study(generator, kind, rate, differ, video)
                    names = [str(number) for number in video]
                    within = None if kind == "error" else (0.0, 1.0)
                    ours = mean_estimate(values, names, strata=strata, within=within).interval
                    frequency = np.bincount(strata)[strata]
                    weighed = values * len(values) / (len(set(strata)) * frequency)
                    sums = np.bincount(video, weighed)
                    found.append([ours, bootstrap(generator, sums, sizes.astype(float))])
                    truths.append(truth)
                cells = " | ".join(_cells(np.array(found), np.array(truths)))
                name = f"{kind}, {100 * rate:g}"
                print(
                    f"| {name} | {videos} | {sizes_are} | {100 * differ:.0f} | {cells} |",
                    flush=True,
                )


def _cells(ends: np.ndarray, truth: np.ndarray) -> list[str]:
    """Share that holds the truth and mean width, of intervals (studies, methods, 2)."""
    low, high = ends[..., 0], ends[..., 1]
    held = 100 * ((low <= truth[:, None]) & (high >= truth[:, None])).mean(axis=0)
    width = 100 * (high - low).mean(axis=0)
    return [f"{h:.1f} [{w:.1f}]" for h, w in zip(held, width, strict=True)]


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--of", choices=["differences", "scores"], default="differences")
    parser.add_argument("--studies", type=int, default=2000)
    parser.add_argument("--rows", type=int, default=400)
    arguments = parser.parse_args()
    show = _differences if arguments.of == "differences" else _scores
    show(arguments.studies, arguments.rows)


if __name__ == "__main__":
    _main()

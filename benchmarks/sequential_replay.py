"""What stopping at a decision would have saved on runs that are finished.

    python benchmarks/sequential_replay.py RUNS [RUNS ...] --reference ROW
                                           [--margin 0.03] [--alpha 0.05] [--resamples 200]

Replays the sequential comparison of ``benchmark stop=decided`` for each pair with the reference
alone, on folders of finished runs or files of outcomes. Then draws further run seeds from those
that are there, with replacement, and tells after how many a decision comes: what to expect of a
budget if the seeds so far are typical. Six seeds tell it roughly.
"""

import argparse
from collections import Counter
from pathlib import Path

import numpy as np

from egodtm_robot.comparison.inference.sequential import PairedEProcess
from egodtm_robot.comparison.reading import read_arms
from egodtm_robot.comparison.sequential_path import sequential_path

MOST_SEEDS = 60


def decision(blocks: np.ndarray, margin: float, alpha: float) -> tuple[str, int]:
    """The verdict on blocks that come one after another, and how many it took."""
    process = PairedEProcess(alpha, margin)
    for number, block in enumerate(blocks, 1):
        if process.add(float(block)) != "undecided":
            return process.verdict, number
    return "undecided", len(blocks)


def main() -> None:
    """Replay and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--reference", required=True)
    parser.add_argument("--margin", type=float, default=0.03)
    parser.add_argument("--alpha", type=float, default=0.05)
    parser.add_argument("--resamples", type=int, default=200)
    options = parser.parse_args()
    rule = options.margin, options.alpha
    by_name = {arm.name: arm for arm in read_arms(options.runs)}
    reference = by_name.pop(options.reference)
    generator = np.random.default_rng(0)
    for arm in by_name.values():
        both = [{run.run_seed for run in one.runs} for one in (arm, reference)]
        pair = (arm, reference)
        path = sequential_path(pair, reference.name, sorted(both[0] & both[1]), *rule)
        print(path.to_markdown(), end="\n\n")
        blocks = np.array([block.difference for block in path.pairs[0].blocks])
        ends = [
            decision(generator.choice(blocks, MOST_SEEDS), *rule) for _ in range(options.resamples)
        ]
        numbers = np.percentile([number for _, number in ends], [50, 90])
        verdicts = ", ".join(
            f"{v} {n / len(ends):.0%}" for v, n in Counter(v for v, _ in ends).items()
        )
        print(
            f"Drawn from these {len(blocks)} seeds, a decision takes {numbers[0]:.0f} seeds at the "
            f"median and {numbers[1]:.0f} in 9 of 10 cases, of at most {MOST_SEEDS}; {verdicts}.\n"
        )


if __name__ == "__main__":
    main()

"""What is compared: the final episodes of training runs, as arms of a comparison."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from egodtm_robot.comparison.provenance import Provenance


@dataclass(frozen=True, order=True)
class Condition:
    """What policies met; a column of a table.

    Attributes:
        environment: its name, such as ``franka_kitchen_microwave``.
        look: name of the visual preset.
        resets: name of the preset of resets.
    """

    environment: str
    look: str
    resets: str


@dataclass(frozen=True, eq=False)
class RunEpisodes:
    """The final episodes of one training run under one condition.

    Attributes:
        condition: what the policy met.
        run_seed: seed of the training run.
        episode_seeds: int64 (n,), ascending; None for results that lack rows of outcomes, which
            cannot be paired.
        success: bool (n,).
        progress: float64 (n,), the largest progress towards the goal, in [0, 1]; None where the
            environment reports none.
        solved_step: float64 (n,), steps after which the task was first solved, NaN where it never
            was; None if that is not known.
        steps: int64 (n,), steps taken; None if that is not known.
        source: folder of the run, or the file that the episodes were read from.
        provenance: what it was measured under; None if that is not known.
        checkpoint_maximum: the largest success rate over all checkpoints, as R3M reports it, in
            [0, 1]; None unless the protocol asks for it.
    """

    condition: Condition
    run_seed: int
    episode_seeds: NDArray[np.int64] | None
    success: NDArray[np.bool_]
    progress: NDArray[np.float64] | None = None
    solved_step: NDArray[np.float64] | None = None
    steps: NDArray[np.int64] | None = None
    source: Path | None = None
    provenance: Provenance | None = None
    checkpoint_maximum: float | None = None


@dataclass(frozen=True, eq=False)
class Arm:
    """What is compared with another: an encoder, a policy, anyone's method.

    Attributes:
        name: in tables.
        runs: its training runs, at most one for each condition and run seed.
    """

    name: str
    runs: tuple[RunEpisodes, ...]

"""Whether depth and texts help a policy: pretrainings that differ in their objective alone.

    python benchmarks/pretraining_objectives.py [--out runs/objectives] [--seeds 0 1 2]
                                                [--output patches] [SETTING=VALUE ...]

Trains ``egodtm_tiny`` with ``text`` and ``text_depth`` from every seed, with ``depth`` from the
first, and keeps untrained weights of every seed (``random``), all on the same clips for the same
steps, and then runs the grid of :mod:`egodtm_robot.benchmark` on the frozen encoders: a policy seed
is evaluated with the pretraining seed of its number, so that the intervals hold both. Each run has
one core, as many run at a time as there are cores. ``--output`` is what of the encoder a policy
gets: ``patches``, or ``stem`` where the stem is trained (``training.stem_rate``). Started again it
goes on where it was. SETTINGs are those of ``python pretrain/run.py``; they add to SETTINGS below
and win over them.
"""

import argparse
from pathlib import Path
from typing import get_args

from egodtm_robot.comparison.command_runs import CommandRun, run_commands
from egodtm_robot.comparison.grid import run_grid
from egodtm_robot.comparison.grid_config import GridConfig
from egodtm_robot.core.processes.local import LocalRunner
from egodtm_robot.core.processes.threads import available_cores
from egodtm_robot.encoders.egodtm import Output

SETTINGS = [
    "data.clips=12000",
    "steps=150",
    "training.image_share=0.75",
    "training.image_batch_size=128",
    "training.batch_size=32",
    "training.validate_every=1000",  # the end alone
    "training.save_every=25",
    "training.threads=1",
]
"""The settings of the first table of objectives in docs/results/pretraining.md: a quarter of an
hour of a core for each pretraining, without bf16."""

TRAINED = ("text_depth", "text", "depth")
ROWS = ("random", *TRAINED)
ENVIRONMENTS = ("franka_kitchen_microwave", "franka_kitchen_slide_cabinet", "franka_kitchen_light")


def pretraining(row: str, seed: int, out: Path, settings: list[str]) -> CommandRun:
    """The command of one pretraining; it does nothing if the pretraining is finished."""
    chosen = [f"objective={row}"] if row in TRAINED else ["objective=text_depth", "steps=0"]
    run_dir = checkpoint(row, seed, out).parents[1]
    arguments = (*settings, *chosen, f"seed={seed}", f"run_dir={run_dir}")
    return CommandRun(f"the pretraining {row}, seed {seed},", "pretrain.run", arguments, run_dir)


def checkpoint(row: str, seed: int | str, out: Path) -> Path:
    """Where the weights of a row and a seed lie."""
    return out / f"{row}_seed{seed}" / "checkpoints" / "best.safetensors"


def main() -> None:
    """Train what is missing, then evaluate it and print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, default=Path("runs/objectives"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--output", default="patches", choices=get_args(Output))
    parser.add_argument("settings", nargs="*", metavar="SETTING=VALUE")
    options = parser.parse_args()
    out, seeds = options.out, options.seeds
    settings = [*SETTINGS, *options.settings]
    runs = [(row, seed) for seed in seeds for row in ("text_depth", "text")]
    runs += [("depth", seeds[0])] + [("random", seed) for seed in seeds[1:]]
    runner = LocalRunner(workers=available_cores())
    # The clips first, by one process; the others would draw the same ones at the same time.
    first = [pretraining("random", seeds[0], out, settings)]
    run_commands([first, [pretraining(*run, out, settings) for run in runs]], runner)
    paths = {row: checkpoint(row, "{seed}", out) for row in ("random", "text", "text_depth")}
    paths["depth"] = checkpoint("depth", seeds[0], out)
    comparison = GridConfig(
        encoders=list(ROWS),
        checkpoints={row: str(path) for row, path in paths.items()},
        reference="text",
        environments=list(ENVIRONMENTS),
        seeds=seeds,
        overrides=[f"encoder.output={options.output}"],
        run_dir=str(out / "kitchen"),
    )
    for result in run_grid(comparison).values():
        print(result.to_markdown())


if __name__ == "__main__":
    main()

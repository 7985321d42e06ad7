r"""Compares encoders: ``python -m egodtm_robot.benchmark tasks=[microwave,light] seeds=[0,1,2]``.

Runs ``train_bc`` for every encoder, task and seed, several at a time, each in a process of its
own, and writes a table with intervals. Runs that are finished are not repeated, so an interrupted
benchmark goes on where it was, and one more encoder costs only its own runs. Demonstrations and
features are shared through the store: the n-th encoder of a task collects nothing.

Pretrainings are compared as rows of their own, with pretraining seed and policy seed varied
together, so that the intervals hold both::

    python -m egodtm_robot.benchmark encoders=[text,text_depth,pixels] \
        "+checkpoints.text='runs/text_seed{seed}/checkpoints/best.safetensors'" \
        "+checkpoints.text_depth='runs/text_depth_seed{seed}/checkpoints/best.safetensors'"
"""

if __name__ == "__main__":
    from egodtm_robot.core.startup import prepare_command

    prepare_command()

import functools
import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from egodtm_robot.core.configuration import OutputFolder, PositiveInt, RunSeed, command
from egodtm_robot.core.errors import (
    CheckpointError,
    ConfigurationError,
    EgoDTMRobotError,
    UnknownNameError,
)
from egodtm_robot.core.progress import Progress
from egodtm_robot.core.run_folder import claim_run_dir
from egodtm_robot.report import RESULTS_FILE, FinishedRun
from egodtm_robot.tables import BenchmarkTable


class BenchmarkRunError(EgoDTMRobotError, RuntimeError):
    """One of a benchmark's runs ended with an error."""


@dataclass
class BenchmarkConfig:
    """What to compare."""

    encoders: list[str] = field(
        default_factory=lambda: [
            "none",
            "pixels",
            "vit_tiny_random",
            "efficientnet_lite0_random",
            "efficientnet_lite0",
            "egodtm",
            "oracle",
        ]
    )
    """Names of the ``encoder`` group or of ``checkpoints``, floor first and ceiling last."""

    checkpoints: dict[str, str] = field(default_factory=dict)
    """Rows that are checkpoints of ``pretrain/run.py`` under ``encoder=egodtm``: a path for each
    name. ``{seed}`` in a path stands for the run's seed, so that every policy seed has the
    checkpoint of a pretraining seed of its own."""

    tasks: list[str] = field(
        default_factory=lambda: ["microwave", "slide_cabinet", "hinge_cabinet", "knob", "light"]
    )
    """Tasks of the kitchen; the default five are those of R3M."""

    seeds: list[RunSeed] = field(default_factory=lambda: [0, 1, 2])
    """A training run each; three or more, since single seeds rank nothing."""

    reference: str = "pixels"
    """The encoder that the others are compared with."""

    protocol: str = "standard"
    """``quick``, ``standard`` or ``r3m``."""

    overrides: list[str] = field(default_factory=list)
    """Further overrides of every run, such as ``['env.visual=shifted','videos=1']`` (with their
    quotes); without the latter nothing is filmed."""

    run_dir: OutputFolder = "runs/benchmark"
    """The runs' parent folder, which also gets ``table.md`` and ``table.json``. It is of one
    protocol and its overrides, which its ``config.yaml`` names."""

    workers: PositiveInt = 2
    """Runs at a time; each uses the machine's cores divided by this."""

    def __post_init__(self) -> None:
        """Refuse rows that are not there.

        Raises:
            UnknownNameError: a checkpoint that is no row.
            ConfigurationError: nothing to run, or a path with a placeholder other than ``{seed}``.
            CheckpointError: a checkpoint is not there.
        """
        for name in ("encoders", "tasks", "seeds"):
            if not getattr(self, name):
                raise ConfigurationError(f"Expected at least one of {name}, got none.")
        for name in self.checkpoints:
            if name not in self.encoders:
                raise UnknownNameError("row of the benchmark", name, self.encoders)
        for name in self.checkpoints:
            for seed in self.seeds:
                path = self.checkpoint(name, seed)
                if not path.is_file():
                    raise CheckpointError(
                        f"Expected the checkpoint of {name} at {path}, found none. Train it with "
                        "python pretrain/run.py, or name another path."
                    )

    def checkpoint(self, encoder: str, seed: int) -> Path:
        """The path of a row's checkpoint for a seed."""
        path = self.checkpoints[encoder]
        try:
            return Path(path.format(seed=seed)).expanduser().resolve()
        except (KeyError, IndexError, ValueError) as error:
            raise ConfigurationError(
                f"Expected no placeholder but {{seed}} in the path of {encoder}, got {path}."
            ) from error


@dataclass
class _SharedSettings:
    """What all runs of a folder have in common; a finished one counts for no others."""

    protocol: str
    overrides: list[str]


@functools.lru_cache
def _digest(checkpoint: Path) -> str:
    return hashlib.sha256(checkpoint.read_bytes()).hexdigest()


@dataclass(frozen=True)
class _Run:
    encoder: str
    task: str
    seed: int

    def folder(self, config: BenchmarkConfig) -> Path:
        name = self.encoder
        if name in config.checkpoints:
            # Weights that were trained anew are not what a finished run has measured.
            name += f"-{_digest(config.checkpoint(name, self.seed))[:8]}"
        return Path(config.run_dir) / self.task / name / f"seed_{self.seed}"


def run_benchmark(config: BenchmarkConfig) -> BenchmarkTable:
    """Runs what is missing, writes the table beside the runs and returns it.

    Raises:
        BenchmarkRunError: a run failed; its output is in ``log.txt`` in its folder.
        ResumeMismatchError: the folder's runs have another protocol or other overrides.
    """
    claim_run_dir(Path(config.run_dir), _SharedSettings(config.protocol, config.overrides), ())
    runs = [
        _Run(encoder, task, seed)
        # Seeds outermost: the first complete pass over all cells comes as early as possible.
        for seed in config.seeds
        for task in config.tasks
        for encoder in config.encoders
    ]
    missing = [run for run in runs if not (run.folder(config) / RESULTS_FILE).is_file()]
    progress = Progress("benchmark", len(runs), start=len(runs) - len(missing))
    done = len(runs) - len(missing)
    lock = threading.Lock()
    stop = threading.Event()

    def execute(run: _Run) -> None:
        nonlocal done
        if stop.is_set():
            return
        try:
            _run_in_process(run, run.folder(config), config)
        except BaseException:
            stop.set()
            raise
        with lock:
            done += 1
            progress(done, f"{run.task} {run.encoder} seed {run.seed}")

    with ThreadPoolExecutor(config.workers) as pool:
        for future in [pool.submit(execute, run) for run in missing]:
            future.result()
    table = table_of(config)
    parent = Path(config.run_dir)
    (parent / "table.md").write_text(table.to_markdown() + "\n")
    (parent / "table.json").write_text(json.dumps(table.to_json(), indent=2) + "\n")
    return table


def _run_in_process(run: _Run, folder: Path, config: BenchmarkConfig) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    share = str(max(1, (os.cpu_count() or 1) // config.workers))
    environment = os.environ | {"OMP_NUM_THREADS": share, "MKL_NUM_THREADS": share}
    encoder = [f"encoder={run.encoder}"]
    if run.encoder in config.checkpoints:
        path = config.checkpoint(run.encoder, run.seed)
        encoder = ["encoder=egodtm", f"encoder.checkpoint={path}"]
    arguments = [
        f"env=franka_kitchen_{run.task}",
        *encoder,
        f"protocol={config.protocol}",
        f"seed={run.seed}",
        f"run_dir={folder}",
        f"workers={share}",
        "videos=0",
        *config.overrides,
    ]
    log = folder / "log.txt"
    with log.open("w") as output:
        outcome = subprocess.run(
            [sys.executable, "-m", "egodtm_robot.train_bc", *arguments],
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            check=False,
        )
    if outcome.returncode != 0:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-5:])
        raise BenchmarkRunError(
            f"Expected the run of {run.encoder} on {run.task}, seed {run.seed}, to end well; "
            f"exit code {outcome.returncode}. Its output is in {log} and ends with:\n{tail}"
        )


def table_of(config: BenchmarkConfig) -> BenchmarkTable:
    """The table of the runs that are finished."""
    runs: dict[tuple[str, str], Sequence[FinishedRun]] = {}
    for encoder in config.encoders:
        for task in config.tasks:
            folders = [_Run(encoder, task, seed).folder(config) for seed in config.seeds]
            runs[encoder, task] = [
                FinishedRun.load(folder) for folder in folders if (folder / RESULTS_FILE).is_file()
            ]
    return BenchmarkTable.from_runs(config.encoders, config.tasks, runs, config.reference)


@command(BenchmarkConfig, "benchmark")
def main(config: BenchmarkConfig) -> None:
    """Runs the benchmark and prints its table."""
    print(run_benchmark(config).to_markdown())


if __name__ == "__main__":
    main()

"""What each objective teaches the same model on the same clips: one table over all tasks.

    python benchmarks/objective_table.py [--objectives text text_actions region entities text_depth]
                                         [--texts narration caption] [--seeds 0 1 2]
                                         [--out runs/objective_table] [SETTING=VALUE ...]
    python benchmarks/objective_table.py --table [--tasks ENVIRONMENT ...] [the same options]

Without ``--table`` it trains what is missing: first one model on videos and texts alone
(``start``), as the published methods start from LaViLa's weights, and then ``pretrain.run`` for
every objective, kind of text and seed, from that model. With ``--table`` it measures every
checkpoint by all evaluation tasks on held-out clips (``pretrain.evaluate``), and runs the grid of
``egodtm_robot.benchmark`` on the frozen encoders, in which a policy seed is evaluated with the
pretraining seed of its number. ``--output`` is what of the encoder a policy gets: ``patches``, or
``stem`` where the stem is trained (``training.stem_rate``). It writes ``table.md`` and
``table.csv``. Either goes on where it was stopped. As many runs as cores have one core each.

``text_actions`` is ``objective=text objective.positives=action``. SETTINGs are those of
``pretrain.run``; they add to SETTINGS below and win over them.
"""

import argparse
import csv
import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from egodtm_robot.comparison.command_runs import CommandRun, run_commands
from egodtm_robot.comparison.grid import run_grid
from egodtm_robot.comparison.grid_config import GridConfig
from egodtm_robot.core.processes.local import LocalRunner
from egodtm_robot.core.processes.runner import LOCAL_RUNNER
from egodtm_robot.core.processes.threads import available_cores
from egodtm_robot.encoders.egodtm import Output

MODEL = [
    "data.clips=8000",
    "model.vision.stem=efficientnet_lite0",
    "model.vision.image_size=96",
    "objective.negatives=0",
    "training.precision=bf16",
    "training.validate_every=1000",  # the end alone
    "training.threads=1",
]
"""What all runs have in common."""

START = [
    *MODEL,
    "objective=text",
    "objective.texts=narration",
    "steps=400",
    "training.image_share=0.72",
    "training.image_batch_size=256",
    "training.batch_size=64",
    "seed=0",
]
"""The settings of the model that all rows begin with: twelve minutes of a core."""

SETTINGS = [
    *MODEL,
    "steps=100",
    "training.learning_rate=5e-4",
    "training.image_share=0.6",
    "training.image_batch_size=128",
    "training.batch_size=32",
]
"""The settings of the table in docs/results/objectives.md: two minutes of a core each."""

OBJECTIVES = ("text", "text_actions", "region", "entities", "text_depth")
REFERENCE = "text"
OVERRIDES = {"text_actions": ["objective=text", "objective.positives=action"]}

NUMBERS = {
    "retrieval/text_to_video/map": "retrieval mAP",
    "multiple_choice/accuracy": "true caption of 5",
    "egomcq/inter": "EgoMCQ inter",
    "egomcq/intra": "EgoMCQ intra",
    "multi_instance/map": "multi-instance mAP",
    "multi_instance/ndcg": "nDCG",
    "zero_shot/mean_class": "zero-shot actions",
    "linear_probe/mean_class": "linear probe",
    "language_queries/head/r1_iou0.3": "NLQ R@1, 0.3",
    "depth_probe/dpt/delta1": "depth probe, delta1",
}
"""Columns of the table: a number of a task, and what it is called."""

Scores = dict[tuple[str, str, int], dict[str, float]]
"""Numbers by objective, texts and seed."""


def folder(row: str, texts: str, seed: int | str, out: Path) -> Path:
    """Where a pretraining lies."""
    return out / f"{row}_{texts}_seed{seed}"


def checkpoint(row: str, texts: str, seed: int | str, out: Path) -> Path:
    """Where its weights lie."""
    return folder(row, texts, seed, out) / "checkpoints" / "best.safetensors"


def start(out: Path) -> CommandRun:
    """The command of the model that all rows begin with."""
    run_dir = out / "start"
    return CommandRun(
        "the pretraining start", "pretrain.run", (*START, f"run_dir={run_dir}"), run_dir
    )


def pretraining(row: str, texts: str, seed: int, out: Path, settings: Sequence[str]) -> CommandRun:
    """The command of one pretraining; it does nothing if the pretraining is finished."""
    run_dir = folder(row, texts, seed, out)
    chosen = OVERRIDES.get(row, [f"objective={row}"])
    initial = out / "start" / "checkpoints" / "best.safetensors"
    own = (
        f"objective.texts={texts}",
        f"seed={seed}",
        f"initial={initial}",
        f"run_dir={run_dir}",
    )
    name = f"the pretraining {run_dir.name}"
    return CommandRun(name, "pretrain.run", (*chosen, *SETTINGS, *settings, *own), run_dir)


def evaluation(row: str, texts: str, seed: int, out: Path) -> CommandRun:
    """The command of one evaluation by all tasks; what is measured is not measured again."""
    run_dir = out / "evaluations" / folder(row, texts, seed, out).name
    arguments = (
        f"checkpoint={checkpoint(row, texts, seed, out)}",
        f"run_dir={run_dir}",
        "cache=null",
        "threads=1",
    )
    return CommandRun(f"the evaluation {run_dir.name}", "pretrain.evaluate", arguments, run_dir)


def read_evaluation(run_dir: Path) -> dict[str, float]:
    """The numbers of a finished evaluation, by task and name; none if there is none."""
    file = run_dir / "results.json"
    if not file.is_file():
        return {}
    tasks = json.loads(file.read_text())["tasks"]
    return {
        f"{task}/{name}": found["value"]
        for task, scores in tasks.items()
        for name, found in scores["numbers"].items()
    }


def run_kitchen(
    rows: Sequence[str],
    texts: str,
    seeds: Sequence[int],
    out: Path,
    environment: str,
    output: Output,
    workers: int,
) -> Path:
    """Run the grid of one environment and kind of texts, or what is left of it."""
    names = [f"{row}_{texts}" for row in rows]
    run_dir = out / f"kitchen_{environment}_{texts}"
    paths = {
        name: str(checkpoint(row, texts, "{seed}", out).resolve())
        for name, row in zip(names, rows, strict=True)
    }
    config = GridConfig(
        encoders=names,
        checkpoints=paths,
        reference=f"{REFERENCE}_{texts}" if REFERENCE in rows else None,
        environments=[environment],
        protocols=["few"],
        seeds=list(seeds),
        overrides=[f"encoder.output={output}"],
        run_dir=str(run_dir),
        runner={**LOCAL_RUNNER, "workers": workers, "threads": 1},
    )
    run_grid(config)
    return run_dir


def read_kitchen(row: str, texts: str, seed: int, out: Path) -> dict[str, float]:
    """Final success of the policies of a checkpoint, by environment."""
    found = {}
    for run_dir in sorted(out.glob(f"kitchen_*_{texts}")):
        environment = run_dir.name.removeprefix("kitchen_").removesuffix(f"_{texts}")
        for file in run_dir.rglob(f"{row}_{texts}*/seed_{seed}/results.json"):
            found[environment] = json.loads(file.read_text())["final"]["success_rate"]
    return found


def interval(values: Sequence[float]) -> str:
    """The mean over seeds and Student's 95 % interval."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return f"{mean:.3f}"
    return f"{mean:.3f} ± {_half(values):.3f}"


def difference(values: Sequence[float], reference: Sequence[float]) -> str:
    """The mean difference over seeds and Student's 95 % interval of the paired differences."""
    differences = np.array(values) - np.array(reference)
    mean, half = float(differences.mean()), _half(differences)
    return f"{mean:+.3f} [{mean - half:+.3f}, {mean + half:+.3f}]"


def _half(values: Sequence[float] | NDArray[np.float64]) -> float:
    deviation = float(np.std(values, ddof=1))
    return float(stats.t.ppf(0.975, len(values) - 1)) * deviation / math.sqrt(len(values))


def tables(scores: Scores, columns: dict[str, str]) -> str:
    """For each kind of texts, means over seeds and differences from the reference.

    The last table is what captions bring against narrations, where both were measured.
    """
    kinds: dict[str, dict[str, dict[int, dict[str, float]]]] = {}
    for (row, texts, seed), own in scores.items():
        kinds.setdefault(texts, {}).setdefault(row, {})[seed] = own
    parts = []
    for texts, rows in kinds.items():
        means = [
            [title, *(_cell(own, None, name) for own in rows.values())]
            for name, title in columns.items()
        ]
        seeds = ["seeds measured", *(str(len(own)) for own in rows.values())]
        parts += [_markdown([texts, *(f"`{row}`" for row in rows)], [seeds, *means])]
        others = {row: own for row, own in rows.items() if row != REFERENCE}
        if REFERENCE in rows and others:
            theirs = dict.fromkeys(others, rows[REFERENCE])
            title = f"{texts}, against `{REFERENCE}`"
            parts += [_differences(title, others, theirs, columns)]
    if {"caption", "narration"} <= kinds.keys():
        captions, narrations = kinds["caption"], kinds["narration"]
        both = {row: own for row, own in captions.items() if row in narrations}
        parts += [_differences("caption, against narration", both, narrations, columns)]
    return "\n".join(parts)


def _differences(
    title: str,
    mine: dict[str, dict[int, dict[str, float]]],
    theirs: dict[str, dict[int, dict[str, float]]],
    columns: dict[str, str],
) -> str:
    lines = [
        [column, *(_cell(own, theirs[row], name) for row, own in mine.items())]
        for name, column in columns.items()
    ]
    measured = [line for line in lines if any(line[1:])]
    return _markdown([title, *(f"`{row}`" for row in mine)], measured)


def _cell(
    mine: dict[int, dict[str, float]], theirs: dict[int, dict[str, float]] | None, name: str
) -> str:
    seeds = [s for s in mine if name in mine[s] and (theirs is None or name in theirs.get(s, {}))]
    if not seeds:
        return ""
    values = [mine[seed][name] for seed in seeds]
    if theirs is None:
        return interval(values)
    return difference(values, [theirs[seed][name] for seed in seeds]) if len(seeds) > 1 else ""


def _markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"|{'|'.join(_padded(line))}|" for line in lines) + "\n"


def _padded(cells: Sequence[str]) -> list[str]:
    return [cell if cell == "---" else f" {cell} ".replace("  ", " ") for cell in cells]


def read_csv(path: Path) -> Scores:
    """The numbers of a file of :func:`write_csv`."""
    scores: Scores = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            own = scores.setdefault((row["objective"], row["texts"], int(row["seed"])), {})
            own[row["number"]] = float(row["value"])
    return scores


def write_csv(path: Path, scores: Scores, columns: Iterable[str]) -> None:
    """One line a checkpoint and number of the table."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["objective", "texts", "seed", "number", "value"])
        for (row, texts, seed), own in scores.items():
            present = [name for name in columns if name in own]
            writer.writerows([row, texts, seed, name, f"{own[name]:.6g}"] for name in present)


def main() -> None:
    """Train what is missing, or measure what is trained and print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--objectives", nargs="+", default=list(OBJECTIVES))
    parser.add_argument("--texts", nargs="+", default=["narration", "caption"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--tasks", nargs="*", default=["franka_kitchen_light"])
    parser.add_argument("--output", default="patches", choices=get_args(Output))
    parser.add_argument("--out", type=Path, default=Path("runs/objective_table"))
    parser.add_argument("--workers", type=int, default=available_cores())
    parser.add_argument("settings", nargs="*", metavar="SETTING=VALUE")
    options = parser.parse_args()
    out = options.out
    cells = [
        (row, texts, seed)
        for seed in options.seeds
        for texts in options.texts
        for row in options.objectives
    ]
    runner = LocalRunner(workers=options.workers)
    if not options.table:
        runs = [pretraining(*cell, out, options.settings) for cell in cells]
        run_commands([[start(out)], runs], runner)
        return
    runs = [evaluation(*cell, out) for cell in cells]
    missing = [run for run in runs if not (run.folder / "results.json").is_file()]
    run_commands([missing[:1], missing[1:]], runner)
    for environment in options.tasks:
        for texts in options.texts:
            run_kitchen(
                options.objectives,
                texts,
                options.seeds,
                out,
                environment,
                options.output,
                options.workers,
            )
    scores: Scores = {
        cell: read_evaluation(out / "evaluations" / folder(*cell, out).name)
        | read_kitchen(*cell, out)
        for cell in sorted(cells, key=lambda cell: (options.texts.index(cell[1]), cell[2]))
    }
    columns = NUMBERS | {name: name.removeprefix("franka_kitchen_") for name in options.tasks}
    write_csv(out / "table.csv", scores, columns)
    (out / "table.md").write_text(tables(scores, columns))
    print((out / "table.md").read_text())


if __name__ == "__main__":
    main()

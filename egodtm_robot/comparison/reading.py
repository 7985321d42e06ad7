"""Arms from whatever holds outcomes: folders of finished runs, and files of rows.

A folder is searched for finished runs at any depth, so it may be a single run, a row of a
benchmark, or all of it. The runs of a folder are split into arms by the place that they lie in,
``.../<arm>/seed_<seed>``, as the benchmark and the main job lay them out.
"""

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from egodtm_robot.comparison.arms import Arm, ArmsError, RunEpisodes, make_arm
from egodtm_robot.comparison.outcomes_csv import read_outcomes_csv
from egodtm_robot.comparison.run_folders import episodes_of, run_folders, unfinished_runs
from egodtm_robot.evaluation.results import RESULTS_FILE, FinishedRun, RunResults

_OUTCOMES_ENDINGS = (".csv", ".csv.gz")
_SEED_FOLDER = re.compile(r"(.*_)?seed_?\d+")
_DIGEST = re.compile(r"-[0-9a-f]{8}$")


def read_arms(paths: Sequence[Path], join: bool | None = None) -> tuple[Arm, ...]:
    """The arms that paths hold; see :func:`find_arms`, which also says what it joined."""
    arms, _ = find_arms(paths, join)
    return arms


def find_arms(
    paths: Sequence[Path], join: bool | None = None
) -> tuple[tuple[Arm, ...], tuple[str, ...]]:
    """The arms that paths hold, in the order of the paths.

    Arms of one name in several paths are one arm if they are further runs of the same training:
    equal settings and encoders, equal versions, and no run twice. Others are told apart by their
    paths, ``egodtm (few)`` and ``egodtm (standard)``. Files do not tell the settings.

    Args:
        paths: folders of finished runs at any depth, or ``.csv`` and ``.csv.gz`` files, see
            :func:`~egodtm_robot.comparison.outcomes_csv.read_outcomes_csv`.
        join: whether arms of one name in several paths are one arm, whatever their settings; None
            decides as above.

    Returns:
        The arms, and a sentence about each name that lies in several paths, where it was decided.

    Raises:
        ArmsError: a path does not exist or holds no finished run, or an arm would have the same run
            twice.
        EgoDTMRobotError: a run or a file cannot be read.
    """
    grouped: dict[str, list[tuple[Path, Arm]]] = {}
    for path in paths:
        for arm in _arms_at(path):
            grouped.setdefault(arm.name, []).append((path, arm))
    labels = _labels(paths)
    arms: list[Arm] = []
    notes: list[str] = []
    for name, found in grouped.items():
        runs = [run for _, arm in found for run in arm.runs]
        reason = _what_parts(runs) if join is None and len(found) > 1 else ""
        if len(found) == 1 or join or (join is None and not reason):
            arms.append(make_arm(name, runs))
        else:
            arms += [replace(arm, name=f"{name} ({labels[path]})") for path, arm in found]
        if join is None and len(found) > 1:
            notes.append(
                f"`{name}` lies in {len(found)} paths and is told apart by them, because {reason}. "
                "With join=true it is one arm, if no run is there twice."
                if reason
                else f"`{name}` is one arm of {len(found)} paths, whose runs have equal settings. "
                "With join=false it is told apart by them."
            )
    return tuple(arms), tuple(notes)


def _what_parts(runs: Sequence[RunEpisodes]) -> str:
    """Why runs are not those of one arm; empty if they are."""
    settings = {run.settings for run in runs}
    if "" in settings:
        return "the settings of its runs are not known"
    if len(settings) > 1:
        return "the settings of its runs differ"
    features = {(run.condition.environment, run.features) for run in runs}
    if len({environment for environment, _ in features}) < len(features):
        return "the encoders of its runs differ"
    if len({run.provenance for run in runs}) > 1:
        return "its runs are of different versions"
    places = Counter((run.condition, run.run_seed) for run in runs)
    (condition, seed), count = places.most_common(1)[0]
    if count > 1:
        return f"run seed {seed} on {condition.environment} is there {count} times"
    return ""


def _arms_at(path: Path) -> list[Arm]:
    if path.is_file() and path.name.endswith(_OUTCOMES_ENDINGS):
        return [make_arm(arm.name, arm.runs) for arm in read_outcomes_csv(path)]
    if not path.is_dir():
        raise ArmsError(
            f"Expected a folder of finished runs, or outcomes in a .csv or .csv.gz file, at "
            f"{path}; {'it is another file' if path.exists() else 'nothing is there'}."
        )
    runs: dict[str, list[RunEpisodes]] = {}
    for folder in run_folders(path):
        run = FinishedRun.load(folder)
        name = _arm_name(folder, run.results)
        runs.setdefault(name, []).extend(episodes_of(run))
    if not runs:
        begun = len(unfinished_runs(path))
        raise ArmsError(
            f"Expected finished runs below {path}, folders with {RESULTS_FILE} of train_bc, found "
            f"none{f', and {begun} that are not finished' if begun else ''}. Train with "
            "python -m egodtm_robot.train_bc or python -m egodtm_robot.benchmark first."
        )
    return [make_arm(name, entries) for name, entries in runs.items()]


def _arm_name(run_dir: Path, results: RunResults) -> str:
    place = run_dir.resolve()
    if _SEED_FOLDER.fullmatch(place.name):
        # A benchmark puts the digest of a checkpoint behind its row's name, one for each seed.
        return _DIGEST.sub("", place.parent.name)
    return str(results.encoder.get("name", place.name))


def _labels(paths: Sequence[Path]) -> dict[Path, str]:
    """A short name for each path: as many of its last parts as tell it from the others."""
    parts = {path: Path(os.path.abspath(path)).parts for path in paths}
    labels = {}
    for path, own in parts.items():
        others = [other for one, other in parts.items() if one != path]
        length = next(
            (n for n in range(1, len(own)) if all(own[-n:] != other[-n:] for other in others)),
            len(own),
        )
        labels[path] = "/".join(own[-length:])
    return labels

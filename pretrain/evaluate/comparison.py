"""Differences of models, or of loaders, on the same questions."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from egodtm_robot.core.errors import ConfigurationError, EgoDTMRobotError, UnknownNameError
from egodtm_robot.core.multiplicity import holm
from egodtm_robot.core.paired_means import PairedDifference, paired_difference
from pretrain.evaluate.finished import FinishedEvaluation, FinishedTask

_QUESTION = ("item", "clip", "video", "direction", "sequence", "query", "kind", "answer", "label")
"""Columns of outcomes that say what was asked about."""

_WORDS = ("caption", "text")
"""Columns that say in which words; a loader may change them."""

_FACTS = {
    "relevancy": "relevancy matrices",
    "classes": "numbers of classes",
    "unit": "units",
    "alignment": "alignments",
    "sentences": "numbers of sentences",
}
"""Facts of tasks that have to be equal, and what they are called."""


class EvaluationMismatchError(EgoDTMRobotError, ValueError):
    """Evaluations of different questions are not compared."""


@dataclass(frozen=True)
class NumberDifference:
    """One number of two evaluations.

    Attributes:
        task: which task.
        number: which of its numbers, or its headline.
        first: name of the evaluation that the second is subtracted from.
        second: the other's name.
        values: the number of either.
        difference: first minus second, over videos.
        adjusted_p: Holm's p-value among all differences that were asked for; NaN without a test.
    """

    task: str
    number: str
    first: str
    second: str
    values: tuple[float, float]
    difference: PairedDifference
    adjusted_p: float


@dataclass(frozen=True)
class ModelComparison:
    """What some evaluations say of each other.

    Attributes:
        names: of the evaluations, in their order.
        paths: of their folders.
        compared: ``models`` or ``loaders``.
        differences: of every pair and number, in the order of tasks.
        confidence: level of intervals.
        notes: what a reader must know, such as tasks that only one has.
    """

    names: tuple[str, ...]
    paths: tuple[str, ...]
    compared: str
    differences: tuple[NumberDifference, ...]
    confidence: float
    notes: tuple[str, ...]


def compare_evaluations(
    evaluations: Sequence[FinishedEvaluation],
    *,
    reference: str | None = None,
    tasks: Sequence[str] = (),
    all_numbers: bool = False,
    confidence: float = 0.95,
) -> ModelComparison:
    """Compare finished evaluations, row by row.

    Args:
        evaluations: at least two, of different models and one loader, or of one model and
            different loaders.
        reference: name of the one that the others are compared with; None compares every pair.
        tasks: names of those to compare; empty for all that are common.
        all_numbers: whether all numbers of a task are compared, and not its headline alone.
        confidence: between 0 and 1.

    Raises:
        ConfigurationError: there are fewer than two evaluations.
        UnknownNameError: there is no such reference or task.
        EvaluationMismatchError: they are of different clips, questions, texts, matrices or loaders.
    """
    if len(evaluations) < 2:
        raise ConfigurationError(
            f"Expected at least two finished evaluations to compare, got {len(evaluations)}. Name "
            "another folder."
        )
    compared = _what_is_compared(evaluations)
    names = _names(evaluations, compared)
    if reference is not None and reference not in names:
        raise UnknownNameError("evaluation", reference, list(names))
    common = [name for name in evaluations[0].tasks if all(name in e.tasks for e in evaluations)]
    for name in tasks:
        if name not in common:
            raise UnknownNameError("task of all evaluations", name, common)
    chosen = [name for name in common if not tasks or name in tasks]
    if not chosen:
        raise EvaluationMismatchError(
            f"Expected evaluations with a task in common, got "
            f"{'; '.join(', '.join(e.tasks) or 'none' for e in evaluations)}."
        )
    every = dict.fromkeys(name for evaluation in evaluations for name in evaluation.tasks)
    notes = [
        f"{name} is left out: not all evaluations have it." for name in every if name not in common
    ]
    pairs = [
        pair
        for pair in itertools.combinations(range(len(names)), 2)
        if reference is None or reference in (names[pair[0]], names[pair[1]])
    ]
    if reference is not None:  # the others are set beside it
        pairs = [(b, a) if names[a] == reference else (a, b) for a, b in pairs]
    found = []
    for name in chosen:
        measured = [evaluation.tasks[name] for evaluation in evaluations]
        for other, evaluation in zip(measured[1:], evaluations[1:], strict=True):
            _check_same_questions(name, measured[0], other, evaluations[0], evaluation, compared)
        numbers = [measured[0].headline]
        if all_numbers:
            numbers = [n for n in measured[0].numbers if all(n in one.numbers for one in measured)]
        for number in numbers:
            columns = [one.column(number) for one in measured]
            if any(column is None for column in columns):
                notes.append(f"{name} {number} is left out: its rows are not among the outcomes.")
                continue
            videos = [row["video"] for row in measured[0].rows]
            values = [np.array(column) for column in columns]
            for a, b in pairs:
                if not np.array_equal(np.isnan(values[a]), np.isnan(values[b])):
                    raise EvaluationMismatchError(
                        f"Expected {number} of {name} for the same rows, got it for others in "
                        f"{evaluations[a].path} and {evaluations[b].path}."
                    )
                known = ~np.isnan(values[a])
                if not known.any():
                    continue
                first, second = values[a][known], values[b][known]
                clusters = [video for video, keep in zip(videos, known, strict=True) if keep]
                found.append(
                    NumberDifference(
                        name,
                        number,
                        names[a],
                        names[b],
                        (float(first.mean()), float(second.mean())),
                        paired_difference(first, second, clusters, confidence),
                        math.nan,
                    )
                )
    return ModelComparison(
        names,
        tuple(str(evaluation.path) for evaluation in evaluations),
        compared,
        tuple(_adjusted(found)),
        confidence,
        tuple(notes),
    )


def _what_is_compared(evaluations: Sequence[FinishedEvaluation]) -> str:
    """``models`` or ``loaders``.

    Raises:
        EvaluationMismatchError: the clips differ, or models and loaders do.
    """
    first = evaluations[0]
    for other in evaluations[1:]:
        if other.selection != first.selection:
            raise EvaluationMismatchError(
                f"Expected evaluations of the same clips, got others in {first.path} and "
                f"{other.path}. Measure both with the same data.path and data.clips."
            )
    models = {evaluation.model["fingerprint"] for evaluation in evaluations}
    for other in evaluations[1:]:
        changed = [
            f"{name} ({first.loader_settings.get(name)!r} and {value!r})"
            for name, value in other.loader_settings.items()
            if first.loader_settings.get(name) != value
        ]
        if changed and len(models) > 1:
            raise EvaluationMismatchError(
                f"Expected different models under one loader, or one model under different "
                f"loaders, got both in {first.path} and {other.path}: {', '.join(changed)} differ. "
                "Measure both with the same loader."
            )
    return "models" if len(models) > 1 else "loaders"


def _check_same_questions(
    task: str,
    first: FinishedTask,
    second: FinishedTask,
    first_of: FinishedEvaluation,
    second_of: FinishedEvaluation,
    compared: str,
) -> None:
    """Refuse rows that do not ask the same.

    Raises:
        EvaluationMismatchError: options, facts or rows differ.
    """
    where = f"{first_of.path} and {second_of.path}"
    options = sorted(
        name
        for name in {*first.measured_as, *second.measured_as}
        if first.measured_as.get(name) != second.measured_as.get(name)
    )
    if options:
        raise EvaluationMismatchError(
            f"Expected {task} with the same options, got another {', '.join(options)} in {where}."
        )
    for fact, words in _FACTS.items():
        if first.facts.get(fact) != second.facts.get(fact):
            raise EvaluationMismatchError(
                f"Expected {task} with the same {words}, got others in {where}: "
                f"{first.facts.get(fact)} and {second.facts.get(fact)}."
            )
    columns = [*_QUESTION, *(_WORDS if compared == "models" else ())]
    for column in columns:
        a, b = ([row.get(column) for row in one.rows] for one in (first, second))
        if a != b:
            kind = "texts" if column in _WORDS else "questions"
            raise EvaluationMismatchError(
                f"Expected {task} with the same {kind}, got others in {where}: column {column} "
                "of their outcomes differs."
            )


def _names(evaluations: Sequence[FinishedEvaluation], compared: str) -> tuple[str, ...]:
    """What tables call each evaluation: as short as it can be told apart."""
    if compared == "loaders":
        candidates = [[str(e.loader["name"]), str(e.path)] for e in evaluations]
    else:
        candidates = [
            [e.model["name"], f"{e.model['name']}-{e.model['fingerprint'][:8]}", str(e.path)]
            for e in evaluations
        ]
    for names in zip(*candidates, strict=True):
        if len(set(names)) == len(names):
            return tuple(names)
    raise ConfigurationError(
        f"Expected each evaluation once, got {', '.join(str(e.path) for e in evaluations)}."
    )


def _adjusted(found: Sequence[NumberDifference]) -> list[NumberDifference]:
    tested = [one for one in found if not math.isnan(one.difference.p_value)]
    adjusted = iter(holm([one.difference.p_value for one in tested]).tolist())
    return [
        NumberDifference(
            one.task,
            one.number,
            one.first,
            one.second,
            one.values,
            one.difference,
            math.nan if math.isnan(one.difference.p_value) else next(adjusted),
        )
        for one in found
    ]

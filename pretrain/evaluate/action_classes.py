"""The classes of action recognition, and the texts that stand for them."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pretrain.clips.actions import action_of
from pretrain.clips.sources.egtea import read_actions
from pretrain.clips.sources.tables import AnnotationFileError, RowError, read_table
from pretrain.evaluate.task import EvaluationDataError

_EPIC_COLUMNS = ("narration", "verb_class", "noun_class")


def read_classes(tables: Sequence[Path]) -> dict[str, tuple[str, ...]]:
    """The texts of each class of published tables, by its label.

    Args:
        tables: tables of EPIC-KITCHENS-100, of which each pair of verb and noun is a class and all
            of its narrations are texts; or ``action_idx.txt`` of EGTEA Gaze+ or ``actions.csv`` of
            RULSTM, of which each line is a class.

    Raises:
        AnnotationFileError: a table is missing or of another form.
    """
    found: dict[str, dict[str, None]] = {}
    for table in tables:
        if _has_header(table):
            for row in read_table(table, _EPIC_COLUMNS):
                try:
                    label = f"{int(row.number('verb_class'))}:{int(row.number('noun_class'))}"
                    found.setdefault(label, {})[row.text("narration")] = None
                except RowError as error:
                    raise AnnotationFileError(f"{row.place}: {error}") from error
        else:
            for number, name in read_actions(table).items():
                found.setdefault(str(number), {})[name] = None
    return {label: tuple(texts) for label, texts in sorted(found.items())}


def classes_of_clips(
    narrations: Sequence[str], extras: Sequence[Mapping[str, Any]]
) -> dict[str, tuple[str, ...]]:
    """The texts of the classes that clips show, by label: each narration of a class's clips once.

    Those of EGTEA Gaze+ are the name of the class.
    """
    found: dict[str, dict[str, None]] = {}
    for narration, extra in zip(narrations, extras, strict=True):
        found.setdefault(label_of(extra), {})[narration.strip()] = None
    return {label: tuple(texts) for label, texts in sorted(found.items())}


def label_of(extra: Mapping[str, Any]) -> str:
    """The class of a clip.

    Raises:
        EvaluationDataError: it has none.
    """
    action = action_of(extra)
    if action is None:
        raise EvaluationDataError(
            f"Expected an action with every clip, got one with {sorted(extra)}. Evaluate the "
            "stores apart."
        )
    return action.label


def _has_header(table: Path) -> bool:
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            return "verb_class" in next(csv.reader(file), [])
    except FileNotFoundError:
        raise AnnotationFileError(
            f"Expected a table of classes at {table}, but there is nothing."
        ) from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise AnnotationFileError(
            f"Expected a table of classes in {table}, got something else: {error}."
        ) from error

"""Clips that something is fitted on, beside those that are measured."""

from collections.abc import Sequence
from pathlib import Path

from pretrain.clips.store import ClipStore
from pretrain.evaluate.clips import EvaluationClips
from pretrain.evaluate.task import EvaluationDataError


def open_training_clips(data: EvaluationClips, training: Sequence[Path]) -> EvaluationClips:
    """The clips of the training split's stores, shown as those that are measured.

    Args:
        data: what is measured.
        training: stores.

    Raises:
        StoreNotFoundError: there is no clip store at a path.
        EvaluationDataError: a store is measured as well.
    """
    store = ClipStore.open(training)
    same = {p.resolve() for p in store.paths} & {p.resolve() for p in data.store.paths}
    if same:
        raise EvaluationDataError(
            f"Expected other clips in training than those that are measured, got "
            f"{', '.join(map(str, sorted(same)))} in both. Name a store of the training split."
        )
    return data.others(store)

"""Measuring tasks in one or many processes, going on where a run was stopped."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object

from pretrain.evaluate.clips import PIECE, EvaluationClips
from pretrain.evaluate.model import VideoTextModel
from pretrain.evaluate.records import read_records, write_records
from pretrain.evaluate.task import EvaluationTask, EvaluationTaskError, Record


def measure_tasks(
    model: VideoTextModel,
    tasks: Sequence[EvaluationTask],
    data: EvaluationClips,
    accelerator: Accelerator,
    folder: Path | None = None,
    on_piece: Callable[[int, int], None] | None = None,
) -> dict[str, list[Record]]:
    """Records of all items of some tasks, the same in every process.

    Process r takes the pieces of PIECE items r, r + P, ... of each of P processes. The tasks take
    turns at each piece, so that its frames are read once for all of them.

    Args:
        model: on the accelerator's device.
        tasks: nothing may be lacking for them.
        data: the clips.
        accelerator: of all processes; all of them call this.
        folder: where records are kept, a file a piece in a folder a task; those found there are not
            measured again. None keeps them in memory.
        on_piece: called with the pieces that this process has done and all that it has.

    Raises:
        EvaluationTaskError: a task gave another number of records than it was asked for, or records
            that can't be kept.
    """
    # Asked once: a task reads its annotations for it, and refuses those of other clips.
    sizes = {task.name: task.size(data) for task in tasks}
    pieces = [
        (number, task)
        for number in range(-(-max(sizes.values(), default=0) // PIECE))
        if number % accelerator.num_processes == accelerator.process_index
        for task in tasks
        if number * PIECE < sizes[task.name]
    ]
    own: dict[str, list[Record]] = {task.name: [] for task in tasks}
    for done, (number, task) in enumerate(pieces, start=1):
        path = None if folder is None else folder / task.name / f"{number:05d}.npz"
        records = None if path is None else read_records(path)
        if records is None:
            items = range(number * PIECE, min((number + 1) * PIECE, sizes[task.name]))
            # A model of the user's own need not know that nothing is trained here.
            with torch.no_grad():
                records = task.measure(model, data, items)
            if len(records) != len(items):
                raise EvaluationTaskError(
                    f"Expected measure of the task {task.name} to give a record for each of "
                    f"{len(items)} items, got {len(records)}."
                )
            if path is not None:
                write_records(path, records)
        # With its piece, since processes hand over pieces in another order than that of items.
        own[task.name] += [{**record, _PLACE: (number, row)} for row, record in enumerate(records)]
        if on_piece is not None:
            on_piece(done, len(pieces))
    joined: dict[str, list[Record]] = {}
    for task in tasks:
        records = gather_object(own[task.name])
        records.sort(key=lambda record: record[_PLACE])
        joined[task.name] = [
            {name: value for name, value in record.items() if name != _PLACE} for record in records
        ]
    return joined


_PLACE = "_place"

"""One row an independent question, beside every ``results.json``: what statistics read."""

import json
from collections.abc import Mapping
from pathlib import Path

from egodtm_robot.core.atomic_files import write_atomically
from egodtm_robot.core.json_files import without_nan
from pretrain.evaluate.task import Scores

FOLDER = "outcomes"


def write_outcomes(run_dir: Path, scores: Mapping[str, Scores | None]) -> None:
    """Write ``outcomes/<task>.jsonl``: a JSON object a line, in the order of items.

    Two models that were measured on the same clips are paired line by line, by ``item`` and
    ``clip``; rows with one ``video`` are not independent.
    """
    (run_dir / FOLDER).mkdir(parents=True, exist_ok=True)
    for name, found in scores.items():
        if found is not None:
            lines = [json.dumps(without_nan(row), allow_nan=False) for row in found.outcomes]
            write_atomically(
                run_dir / FOLDER / f"{name}.jsonl", "".join(f"{line}\n" for line in lines).encode()
            )

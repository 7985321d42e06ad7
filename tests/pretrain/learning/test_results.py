import json
from pathlib import Path

import pytest

from egodtm_robot.core.errors import CheckpointError
from pretrain.learning.results import PretrainResults, describe

RESULTS = {
    "model": "egodtm_tiny", "objective": "text", "steps": 3, "batch_size": 4, "seed": 1,
    "data": {"kind": "synthetic"}, "test_clips": 6, "best_step": 2, "validation_score": 0.5,
    "clips_per_s": 10.0, "loader_wait_fraction": 0.1, "parameters": {"total": 9},
    "checkpoints": {"best": "checkpoints/best.safetensors"}, "timings_s": {"train": 3.0},
    "curves": [], "versions": {}, "torch_threads": 1, "schema_version": 1,
}  # fmt: skip
TASKS = {
    "retrieval": {"text_to_video": {"r1": 0.25, "map": 0.5}, "gallery": 6},
    "depth": None,
    "anything": {"accuracy": 0.125, "unit": "m"},
}


def test_scores_stand_under_the_names_of_their_tasks_and_come_back(tmp_path: Path):
    results = PretrainResults(**RESULTS, tasks=TASKS)
    results.save(tmp_path)
    assert json.loads((tmp_path / "results.json").read_text()) == {**RESULTS, **TASKS}
    assert PretrainResults.load(tmp_path) == results
    assert results.measured() == {
        "retrieval": TASKS["retrieval"],
        "anything": TASKS["anything"],
        "test_clips": 6,
        "best_step": 2,
    }


def test_the_words_show_every_score_of_any_task(tmp_path: Path):
    text = describe(PretrainResults(**RESULTS, tasks=TASKS), tmp_path)
    lines = [line.split() for line in text.splitlines()]
    assert ["text", "to", "video", "0.250", "0.500"] in lines
    assert ["anything", "0.125", "m"] in lines
    assert not any(line[:1] == ["depth"] for line in lines)


def test_a_run_without_scores_names_no_held_out_clips(tmp_path: Path):
    text = describe(PretrainResults(**RESULTS, tasks={"retrieval": None}), tmp_path)
    assert "clips of scenes" not in text
    assert "on 6 clips of scenes" in describe(PretrainResults(**RESULTS, tasks=TASKS), tmp_path)


def test_results_that_are_missing_or_incomplete_are_refused(tmp_path: Path):
    with pytest.raises(CheckpointError, match="finished run"):
        PretrainResults.load(tmp_path)
    (tmp_path / "results.json").write_text('{"model": "egodtm_tiny"}')
    with pytest.raises(CheckpointError, match="finished run"):
        PretrainResults.load(tmp_path)

import json
from pathlib import Path

import pytest

from egodtm_robot.evaluation.results import ResultsError, RunResults, describe, success_summary


def make_results(successes: int = 37, seed: int = 0, episodes: int = 50) -> RunResults:
    return RunResults(
        env="franka_kitchen_microwave",
        environment={"randomization": "default", "visual": "fixed"},
        encoder={"name": "pixels", "fingerprint": "0123456789abcdef"},
        policy="mlp",
        protocol="quick",
        seed=seed,
        demos={"path": "d", "episodes": 50, "fingerprint": "f", "attempted": 55},
        checkpoints=[],
        best_checkpoint=5000,
        final=success_summary(episodes, successes),
        timings_s={"collect": 61.0, "embed": 2.0, "train": 3.0, "evaluate": 4.0},
        videos=["videos/rollouts.mp4"],
    )


def test_the_interval_is_wilsons() -> None:
    summary = success_summary(50, 37)
    assert summary["success_rate"] == 0.74
    # Closed form: center (p + z^2/2n) / (1 + z^2/n).
    assert summary["wilson95"] == pytest.approx([0.6045, 0.8413], abs=2e-4)


def test_saved_results_come_back_and_name_versions(tmp_path: Path) -> None:
    results = make_results()
    results.save(tmp_path)
    assert RunResults.load(tmp_path) == results
    content = json.loads((tmp_path / "results.json").read_text())
    assert content["schema_version"] == 1
    assert set(content["timings_s"]) == {"collect", "embed", "train", "evaluate"}
    assert content["versions"]["mujoco"][0].isdigit()
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]


def test_the_words_say_rate_interval_encoder_and_files(tmp_path: Path) -> None:
    text = describe(make_results(), tmp_path)
    for part in ("74.0% success", "37 of 50", "60.4% to 84.1%", "pixels", "rollouts.mp4"):
        assert part in text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file"),
        ("{", "Expected JSON"),
        ("[]", "Expected JSON"),
        ('{"schema_version": 99}', "schema 1"),
        ('{"schema_version": 1}', "lacks"),
    ],
)
def test_unreadable_results_are_named(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "results.json").write_text(content)
    with pytest.raises(ResultsError, match=message):
        RunResults.load(tmp_path)

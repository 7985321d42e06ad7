import json
from pathlib import Path

import pytest

from egodtm_robot.comparison.table import BenchmarkTable
from egodtm_robot.evaluation.outcomes import Outcome, write_outcomes
from egodtm_robot.evaluation.results import FinishedRun, ResultsError, RunResults, success_summary


def results(successes: int, seed: int, **final) -> RunResults:
    return RunResults(
        env="e", environment={}, encoder={}, policy="mlp", protocol="standard", seed=seed,
        demos={}, checkpoints=[], best_checkpoint=1, final=success_summary(70, successes) | final,
        timings_s={}, versions={},
    )  # fmt: skip


def run(successes: int, seed: int, outcomes: bool = True, look: str = "varied") -> FinishedRun:
    """The first episodes succeed: a better run succeeds wherever a poorer one does."""
    rows = tuple(
        Outcome("e", "t", look, "default", seed, episode, episode < successes, None, 0, None, 70)
        for episode in range(70)
    )
    return FinishedRun(results(successes, seed), rows if outcomes else None)


def table(**options) -> BenchmarkTable:
    runs = {
        ("good", "microwave"): [run(60, 0, **options), run(62, 1), run(58, 2)],
        ("good", "light"): [run(50, 0), run(55, 1), run(45, 2)],
        ("poor", "microwave"): [run(20, 0), run(22, 1), run(18, 2)],
        ("poor", "light"): [run(10, 0), run(15, 1), run(5, 2)],
        ("partial", "microwave"): [run(35, 0)],
    }
    return BenchmarkTable.from_runs(
        ["good", "poor", "partial"], ["microwave", "light"], runs, reference="poor"
    )


def test_a_cell_pools_the_episodes_of_all_seeds() -> None:
    cell = table().cells["good", "microwave"]
    assert (cell.episodes, cell.successes) == (210, 180)
    assert cell.rates == (60 / 70, 62 / 70, 58 / 70)


def test_the_mean_over_tasks_has_an_interval_around_it() -> None:
    mean = table().means["good"]
    assert abs(mean.value - (180 + 150) / 420) < 1e-12
    assert mean.interval.low < mean.value < mean.interval.high
    assert mean.interval.high - mean.interval.low < 0.15


def test_a_clear_difference_excludes_zero() -> None:
    difference = table().versus["good"]
    assert abs(difference.value - (330 - 90) / 420) < 1e-12
    assert difference.interval.low > 0


@pytest.mark.parametrize("options", [{"outcomes": False}, {"look": "fixed"}])
def test_runs_without_shared_rows_are_compared_unpaired_and_say_so(options) -> None:
    paired, unpaired = table(), table(**options)
    assert paired.paired == {"good"}
    assert unpaired.paired == frozenset()
    assert paired.versus["good"].value == pytest.approx(unpaired.versus["good"].value)
    # Every seed's difference is the same here: what is left of the paired interval is the episodes
    # on which the two differ.
    paired_width, unpaired_width = (
        built.versus["good"].interval.high - built.versus["good"].interval.low
        for built in (paired, unpaired)
    )
    assert paired_width < 0.8 * unpaired_width
    assert "(unpaired)" in unpaired.to_markdown()
    assert "(unpaired)" not in paired.to_markdown()


def test_an_encoder_without_all_tasks_gets_no_mean() -> None:
    built = table()
    assert "partial" not in built.means
    line = next(line for line in built.to_markdown().splitlines() if "`partial`" in line)
    assert line.split("|")[3].strip() == ""


def test_markdown_shows_percent_with_interval_and_json_is_plain() -> None:
    built = table()
    assert "86 [80, 90]" in built.to_markdown()
    plain = json.loads(json.dumps(built.to_json()))
    assert plain["encoders"]["good"]["tasks"]["light"]["successes"] == 150
    assert plain["encoders"]["good"]["paired"] is True
    assert plain["encoders"]["partial"]["mean"] is None


def test_a_run_of_before_outcomes_is_read_without_them(tmp_path: Path) -> None:
    results(35, 0).save(tmp_path)
    assert FinishedRun.load(tmp_path).outcomes is None


def test_rows_that_disagree_with_the_results_are_named(tmp_path: Path) -> None:
    results(35, 0, outcomes="outcomes.csv").save(tmp_path)
    write_outcomes(tmp_path / "outcomes.csv", run(35, 0).outcomes)
    assert len(FinishedRun.load(tmp_path).outcomes) == 70
    write_outcomes(tmp_path / "outcomes.csv", run(34, 0).outcomes)
    with pytest.raises(ResultsError, match="Expected 35 successes of 70 episodes .* got 34 of 70"):
        FinishedRun.load(tmp_path)

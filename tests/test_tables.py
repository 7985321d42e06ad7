import json

from egodtm_robot.report import RunResults, success_summary
from egodtm_robot.tables import BenchmarkTable


def run(successes: int, seed: int) -> RunResults:
    return RunResults(
        env="e", environment={}, encoder={}, policy="mlp", protocol="standard", seed=seed,
        demos={}, checkpoints=[], best_checkpoint=1, final=success_summary(70, successes),
        timings_s={}, versions={},
    )  # fmt: skip


def table() -> BenchmarkTable:
    results = {
        ("good", "microwave"): [run(60, 0), run(62, 1), run(58, 2)],
        ("good", "light"): [run(50, 0), run(55, 1), run(45, 2)],
        ("poor", "microwave"): [run(20, 0), run(22, 1), run(18, 2)],
        ("poor", "light"): [run(10, 0), run(15, 1), run(5, 2)],
        ("partial", "microwave"): [run(35, 0)],
    }
    return BenchmarkTable.from_results(
        ["good", "poor", "partial"], ["microwave", "light"], results, reference="poor"
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
    assert plain["encoders"]["partial"]["mean"] is None

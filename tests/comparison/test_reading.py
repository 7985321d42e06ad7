import sys
from pathlib import Path

import pytest
import yaml

from egodtm_robot.comparison.arms import ArmsError
from egodtm_robot.comparison.reading import find_arms, read_arms
from egodtm_robot.evaluation.results import ResultsError

sys.path.append(str(Path(__file__).parents[1] / "fakes"))
from fake_runs import write_grid, write_run


def names(paths, **options):
    return [arm.name for arm in read_arms(paths, **options)]


def test_a_benchmark_holds_an_arm_for_each_row(tmp_path):
    write_grid(tmp_path, {"egodtm": 0.5, "pixels,policy=mlp": 0.2})
    arms = read_arms([tmp_path])
    assert [arm.name for arm in arms] == ["egodtm", "pixels,policy=mlp"]
    assert [(run.condition.environment, run.run_seed) for run in arms[0].runs] == [
        ("kitchen_knob", 0),
        ("kitchen_knob", 1),
        ("kitchen_light", 0),
        ("kitchen_light", 1),
    ]


def test_a_row_a_run_and_a_relative_path_are_read_as_well(tmp_path, monkeypatch):
    write_grid(tmp_path, {"egodtm": 0.5})
    row = tmp_path / "kitchen_knob" / "egodtm"
    (arm,) = read_arms([row])
    assert (arm.name, len(arm.runs)) == ("egodtm", 2)
    monkeypatch.chdir(row / "seed_1")
    (arm,) = read_arms([Path(".")])
    assert (arm.name, arm.runs[0].run_seed) == ("egodtm", 1)


def test_a_row_of_checkpoints_is_one_arm_without_their_digests(tmp_path):
    for seed, digest in ((0, "0123abcd"), (1, "4567cdef")):
        write_run(tmp_path / "knob" / f"text-{digest}" / f"seed_{seed}", [True], seed)
    assert names([tmp_path]) == ["text"]


def test_a_run_in_a_folder_of_any_name_is_named_by_its_encoder(tmp_path):
    write_run(tmp_path / "here", [True], encoder="egodtm")
    assert names([tmp_path / "here"]) == ["egodtm"]


def test_arms_of_one_name_in_several_paths_are_told_apart_by_the_paths(tmp_path):
    for folder in ("few/runs", "standard/runs"):
        write_grid(tmp_path / folder, {"egodtm": 0.5})
    write_grid(tmp_path / "more", {"pixels": 0.5})
    paths = [tmp_path / "few/runs", tmp_path / "standard/runs", tmp_path / "more"]
    assert names(paths) == ["egodtm (few/runs)", "egodtm (standard/runs)", "pixels"]
    _, (note,) = find_arms(paths)
    assert "`egodtm` lies in 2 paths" in note
    assert "because the settings of its runs are not known" in note


def test_joined_paths_add_their_run_seeds_to_one_arm(tmp_path):
    write_grid(tmp_path / "first", {"egodtm": 0.5}, seeds=[0, 1])
    write_grid(tmp_path / "further", {"egodtm": 0.5}, seeds=[2])
    (arm,) = read_arms([tmp_path / "first", tmp_path / "further"], join=True)
    assert {run.run_seed for run in arm.runs} == {0, 1, 2}
    with pytest.raises(ArmsError, match=r"one run of egodtm for kitchen_knob.*run seed 0.*first"):
        read_arms([tmp_path / "first", tmp_path / "first" / "kitchen_knob"], join=True)


def write_grid_of(folder, seeds, tasks=("kitchen_knob",), epochs=5, fingerprint="0123", **fields):
    """A grid with runs that know their settings, each with its own task and seed."""
    encoder = {"name": "egodtm", "fingerprint": fingerprint}
    for task in tasks:
        for seed in seeds:
            run = folder / task / "egodtm" / f"seed_{seed}"
            write_run(run, [True, False], seed, task, **fields, encoder=encoder)
            env = {"kind": "kitchen", "task": task, "cameras": ["wrist"]}
            config = {"env": env, "seed": seed, "run_dir": str(run), "workers": seed}
            (run / "config.yaml").write_text(yaml.safe_dump({**config, "policy": {"n": epochs}}))


def test_further_seeds_and_environments_of_one_training_are_one_arm(tmp_path):
    write_grid_of(tmp_path / "first", [0, 1])
    write_grid_of(tmp_path / "further", [2, 3])
    # Features are reduced to those that matter in a task.
    write_grid_of(tmp_path / "light", [0], ["kitchen_light"], fingerprint="89ab")
    paths = [tmp_path / "first", tmp_path / "further", tmp_path / "light"]
    (arm,), (note,) = find_arms(paths)
    assert arm.name == "egodtm"
    found = [(run.condition.environment, run.run_seed) for run in arm.runs]
    assert found == [*(("kitchen_knob", seed) for seed in range(4)), ("kitchen_light", 0)]
    assert "`egodtm` is one arm of 3 paths" in note
    arms, notes = find_arms(paths[:2], join=False)
    assert [arm.name for arm in arms] == ["egodtm (first)", "egodtm (further)"]
    assert notes == ()


@pytest.mark.parametrize(
    ("seeds", "other", "reason"),
    [
        ([1, 2], {}, "run seed 1 on kitchen_knob is there 2 times"),
        ([2], {"epochs": 6}, "the settings of its runs differ"),
        ([2], {"fingerprint": "4567"}, "the encoders of its runs differ"),
        ([2], {"versions": {"egodtm-robot": "0.2.0"}}, "its runs are of different versions"),
    ],
)
def test_what_may_be_another_training_is_told_apart_and_said(tmp_path, seeds, other, reason):
    write_grid_of(tmp_path / "first", [0, 1])
    write_grid_of(tmp_path / "second", seeds, **other)
    arms, (note,) = find_arms([tmp_path / "first", tmp_path / "second"])
    assert [arm.name for arm in arms] == ["egodtm (first)", "egodtm (second)"]
    assert f"because {reason}. With join=true" in note


def test_two_runs_of_one_arm_and_seed_in_a_folder_are_refused(tmp_path):
    for protocol in ("quick", "standard"):
        write_run(tmp_path / "knob" / "egodtm" / f"{protocol}_seed0", [True], protocol=protocol)
    with pytest.raises(ArmsError, match=r"quick_seed0 and .*standard_seed0\. Name a narrower"):
        read_arms([tmp_path])


def test_a_place_without_runs_is_named(tmp_path):
    with pytest.raises(ArmsError, match=r"nowhere; nothing is there"):
        read_arms([tmp_path / "nowhere"])
    (tmp_path / "table.md").touch()
    with pytest.raises(ArmsError, match=r"\.csv\.gz file, at .*table\.md; it is another file"):
        read_arms([tmp_path / "table.md"])
    with pytest.raises(ArmsError, match=r"found none\. Train"):
        read_arms([tmp_path])
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "timings.json").write_text("{}")
    with pytest.raises(ArmsError, match=r"found none, and 1 that are not finished"):
        read_arms([tmp_path])


def test_results_that_cannot_be_read_are_named_and_not_passed_over(tmp_path):
    write_run(tmp_path / "run", [True])
    (tmp_path / "run" / "results.json").write_text("{")
    with pytest.raises(ResultsError, match=r"Expected JSON in .*results\.json"):
        read_arms([tmp_path])

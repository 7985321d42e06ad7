import gzip
import json
import sys
from pathlib import Path

import pytest

from egodtm_robot.compare import CompareConfig, compare, main
from egodtm_robot.core.configuration import compose
from egodtm_robot.core.errors import ConfigurationError, UnknownNameError

sys.path.append(str(Path(__file__).parent / "fakes"))
from fake_runs import write_grid


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    folder = tmp_path_factory.mktemp("grid")
    write_grid(folder, {"egodtm": 0.8, "pixels": 0.35, "none": 0.1}, settings={"name": "few"})
    return folder


def test_paths_and_settings_stand_in_any_order(grid, tmp_path, capsys):
    mine = tmp_path / "mine.csv"
    rows = [
        f"{task},{seed},{1_000 * seed + number},{int(number < 14)}"
        for task in ("kitchen_knob", "kitchen_light")
        for seed in range(2)
        for number in range(20)
    ]
    mine.write_text("\n".join(["environment,seed,episode,success", *rows, ""]))
    text = mine.read_text().replace("environment,", "environment,look,resets,")
    mine.write_text(
        "\n".join(
            line if number == 0 else line.replace(",", ",varied,default,", 1)
            for number, line in enumerate(text.splitlines())
        )
    )
    main(["margin=0.1", str(grid), "reference=pixels", str(mine)])
    shown = capsys.readouterr().out
    assert "difference to `pixels`" in shown
    assert "closer than 10 points" in shown
    assert "| `egodtm` | `mine` | +10.0 [" in shown
    assert "unpaired" not in shown


def test_what_was_asked_for_is_written_and_read_again_to_the_same_tables(grid, tmp_path):
    config = CompareConfig(
        [str(grid)], out=str(tmp_path / "c"), outcomes=str(tmp_path / "o.csv.gz")
    )
    comparison = compare(config)
    assert (tmp_path / "c/compare.md").read_text() == comparison.to_markdown() + "\n"
    assert json.loads((tmp_path / "c/compare.json").read_text()) == comparison.to_json()
    assert gzip.decompress((tmp_path / "o.csv.gz").read_bytes()).startswith(b"version,arm,protocol")
    again = compare(CompareConfig([str(tmp_path / "o.csv.gz")]))
    assert again.to_json() == comparison.to_json()


def test_arms_are_chosen_by_name(grid):
    found = compare(CompareConfig([str(grid)], arms=["pixels", "egodtm"]))
    assert [arm.name for arm in found.arms] == ["egodtm", "pixels"]
    with pytest.raises(UnknownNameError, match="arm 'pixel'.*'pixels'"):
        compare(CompareConfig([str(grid)], arms=["pixel"]))


def test_runs_that_are_not_finished_are_named(grid, tmp_path, capsys):
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "timings.json").write_text("{}")
    write_grid(tmp_path, {"a": 0.5, "b": 0.5})
    main([str(tmp_path)])
    assert "1 runs that are not finished are left out" in capsys.readouterr().out


def test_nothing_and_one_arm_alone_are_refused(grid):
    with pytest.raises(ConfigurationError, match="RUNS_A RUNS_B"):
        compare(CompareConfig())
    with pytest.raises(ConfigurationError, match="at least two arms to compare, got pixels alone"):
        compare(CompareConfig([str(grid)], arms=["pixels"]))


def test_help_says_that_paths_are_taken_and_passes_over_those_given(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["somewhere", "--help"])
    assert stopped.value.code == 0
    shown = capsys.readouterr().out
    assert shown.startswith("python -m egodtm_robot.compare [PATH ...] [KEY=VALUE ...]")
    assert "margin=0.03" in shown


def test_every_setting_can_be_given_on_the_command_line():
    given = ["runs=[a,b]", "arms=[x,y]", "join=true", "split=look", "confidence=0.9"]
    config = compose(CompareConfig, "compare", given)
    assert (config.runs, config.split, config.confidence) == (["a", "b"], "look", 0.9)
    with pytest.raises(UnknownNameError, match="split.*environment"):
        compose(CompareConfig, "compare", ["split=environment"])


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["nowhere"], ["ArmsError", "nowhere", "nothing is there"]),
        ([], ["RUNS_A"]),
        (["GRID", "reference=pixel"], ["reference 'pixel'", "Did you mean 'pixels'"]),
        (["GRID", "margin=3"], ["margin", "from 0 to 1"]),
        (["GRID", "outcomes=OUT/all.txt"], [".csv.gz", "all.txt"]),
    ],
    ids=str,
)
def test_a_mistake_is_one_line_and_exit_code_2(grid, tmp_path, capsys, arguments, parts):
    given = [one.replace("GRID", str(grid)).replace("OUT", str(tmp_path)) for one in arguments]
    with pytest.raises(SystemExit) as stopped:
        main(given)
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    for part in parts:
        assert part in line

import sys
from pathlib import Path

import pytest

from egodtm_robot.report import main

sys.path.append(str(Path(__file__).parent / "fakes"))
from fake_runs import write_grid


def test_the_command_writes_the_page_of_the_paths_that_it_is_given(tmp_path, capsys):
    write_grid(tmp_path / "runs", {"egodtm": 0.8, "pixels": 0.4}, episodes=8)
    page = tmp_path / "deep" / "page.html"
    title = "A <title> of mine"
    main([str(tmp_path / "runs"), "reference=pixels", f"out={page}", f"page.title='{title}'"])
    assert capsys.readouterr().out.startswith(f"2 arms in {page} (")
    text = page.read_text()
    assert "<h1>A &lt;title&gt; of mine</h1>" in text
    assert "difference to the reference" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "ConfigurationError: Expected folders of finished runs or files of outcomes"),
        (["RUNS", "arms=[pixel]"], "UnknownNameError: "),
        (["RUNS/nothing"], "ArmsError: "),
        (["RUNS", "page.films=-1"], "ConfigurationError: Expected page.films at least 0"),
    ],
)
def test_what_cannot_be_shown_is_refused_and_nothing_is_written(
    tmp_path, capsys, arguments, message
):
    write_grid(tmp_path / "runs", {"egodtm": 0.8, "pixels": 0.4}, episodes=8)
    page = tmp_path / "page.html"
    given = [argument.replace("RUNS", str(tmp_path / "runs")) for argument in arguments]
    with pytest.raises(SystemExit) as ended:
        main([*given, f"out={page}"])
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith(message)
    assert not page.exists()

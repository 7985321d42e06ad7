import sys
from pathlib import Path

import numpy as np
import pytest

from egodtm_robot.core.configuration import compose
from egodtm_robot.core.errors import ConfigurationError
from egodtm_robot.plan import PlanConfig, main

sys.path.append(str(Path(__file__).parent / "fakes"))
from fake_runs import write_run

GIVEN = ["training_deviation=0.05", "discordance=0.2"]


def test_the_chance_may_be_given(capsys):
    main([*GIVEN, "rates=[0.5,0.6]", "power=0.9", "episodes=[70]"])
    shown = capsys.readouterr().out
    assert "To tell 50 from 60 % at 90 % power" in shown
    assert "| 70 |" in shown
    assert "as given" in shown


def test_the_chance_may_come_from_runs(tmp_path, capsys):
    generator = np.random.default_rng(0)
    for arm in ("egodtm", "pixels"):
        for seed in range(4):
            write_run(tmp_path / "knob" / arm / f"seed_{seed}", generator.random(20) < 0.5, seed)
    main([str(tmp_path), "rates=[0.5,0.6]"])
    assert "that of egodtm against pixels over 4 run seeds" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "either runs that show how much chance"),
        (["runs=[a]", *GIVEN], "either runs that show how much chance"),
        (GIVEN[:1], "either runs that show how much chance"),
        ([*GIVEN, "rates=[0.85,0.85]"], "two different ones"),
        ([*GIVEN, "rates=[0.85]"], "two different ones"),
        ([*GIVEN, "rates=[85,90]"], "rates from 0 to 1"),
        ([*GIVEN, "power=0.01"], "0 < alpha < power < 1"),
        ([*GIVEN, "episodes=[]"], "at least one number of episodes"),
        ([*GIVEN, "episodes=[0]"], "episodes.*at least 1"),
        ([*GIVEN, "training_deviation=5"], "training_deviation.*from 0 to 1"),
    ],
    ids=str,
)
def test_a_question_that_is_left_open_is_refused(arguments, message):
    with pytest.raises(ConfigurationError, match=message):
        compose(PlanConfig, "plan", arguments)

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


GUESS = {"training_deviation": 0.05, "discordance": 0.2}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "either runs that show how much chance"),
        ({"runs": ["a"], **GUESS}, "either runs that show how much chance"),
        ({"discordance": 0.2}, "either runs that show how much chance"),
        ({"rates": [0.85, 0.85], **GUESS}, "two different ones"),
        ({"rates": [0.85], **GUESS}, "two different ones"),
        ({"rates": [85, 90], **GUESS}, "rates from 0 to 1"),
        ({"power": 0.01, **GUESS}, "0 < alpha < power < 1"),
        ({"episodes": [], **GUESS}, "at least one number of episodes"),
    ],
    ids=str,
)
def test_a_question_that_is_left_open_is_refused(settings, message):
    with pytest.raises(ConfigurationError, match=message):
        PlanConfig(**settings)


def test_a_number_out_of_range_is_refused_on_the_command_line():
    with pytest.raises(ConfigurationError, match="training_deviation.*from 0 to 1"):
        compose(PlanConfig, "plan", ["training_deviation=5", "discordance=0.2"])

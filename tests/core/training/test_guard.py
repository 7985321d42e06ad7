"""A training that is lost stops, and says what to do."""

import math
from pathlib import Path

import pytest

from egodtm_robot.core.errors import TrainingDivergedError
from egodtm_robot.core.training.guard import check_finite

ADVICE = "Lower training.learning_rate (it is 0.1)"


def check(values: dict[str, float], first: int = 3, last: int = 4) -> None:
    check_finite(values, first, last, advice=ADVICE, states=Path("run/resume"))


def test_finite_values_pass():
    check({"loss": 1e30, "gradient_norm": 0.0})


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["loss", "gradient_norm"])
def test_any_value_that_is_not_finite_stops(name: str, value: float):
    with pytest.raises(TrainingDivergedError):
        check({"loss": 1.0, "gradient_norm": 2.0, name: value})


def test_the_message_lists_values_steps_advice_and_states():
    with pytest.raises(TrainingDivergedError) as raised:
        check({"loss": math.nan, "gradient_norm": 2.5})
    assert str(raised.value) == (
        "Expected finite losses and gradients, got loss nan, gradient_norm 2.5 between steps 3 and "
        "4. Lower training.learning_rate (it is 0.1); the last state saved is in run/resume."
    )
    with pytest.raises(TrainingDivergedError, match=r"nan in step 4\."):
        check({"loss": math.nan}, 4, 4)

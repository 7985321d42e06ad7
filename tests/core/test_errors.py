import inspect

import pytest

from egodtm_robot.core import errors
from egodtm_robot.core.errors import EgoDTMRobotError, UnknownNameError


def test_every_named_error_derives_from_the_common_base_and_says_when_it_is_raised():
    found = [
        error
        for _, error in inspect.getmembers(errors, inspect.isclass)
        if error.__module__ == errors.__name__
    ]
    assert UnknownNameError in found
    for error in found:
        assert issubclass(error, EgoDTMRobotError)
        assert error.__doc__ is not None


def test_unknown_name_lists_what_is_known_and_the_nearest():
    with pytest.raises(ValueError, match="expected one of: left, right") as raised:
        raise UnknownNameError("camera", "lefft", ["left", "right"])
    assert str(raised.value).endswith("Did you mean 'left'?")


def test_unknown_name_far_from_all_gets_no_suggestion():
    assert "Did you mean" not in str(UnknownNameError("camera", "zzz", ["left", "right"]))

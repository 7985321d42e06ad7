from dataclasses import replace

import pytest

from egodtm_robot.comparison.provenance import MixedRunsError, Provenance, shared_provenance

FEW = Provenance("few", "1a", "0.1.0", "mujoco 4.0.0")


def test_runs_of_one_protocol_and_version_share_it():
    assert shared_provenance([("one", FEW), ("other", FEW), ("csv", None)]) == (FEW,)
    assert shared_provenance([("csv", None)]) == ()


@pytest.mark.parametrize(
    "other",
    [
        Provenance("few", "2b", "0.1.0"),
        Provenance("standard", "2b", "0.1.0"),
        Provenance("standard"),
        Provenance("few", "1a", "0.2.0"),
        Provenance("few", "1a", "0.1.0", "mujoco 3.3.7"),
    ],
    ids=str,
)
def test_runs_of_another_protocol_or_version_are_refused_unless_asked(other):
    runs = [("one", FEW), ("there", other)]
    with pytest.raises(MixedRunsError, match=r"few \(settings 1a\).*there.*allow_mixed") as refused:
        shared_provenance(reversed(runs))
    assert str(other) in str(refused.value)
    assert set(shared_provenance(runs, allow_mixed=True)) == {FEW, other}


def test_a_run_that_knows_less_agrees_with_one_that_knows_more():
    assert shared_provenance([("old", Provenance("few")), ("new", FEW)]) == (FEW,)


def test_a_protocol_is_its_settings_whatever_its_name():
    mine = replace(FEW, protocol="mine")
    assert set(shared_provenance([("one", FEW), ("mine", mine)])) == {FEW, mine}

import itertools

import numpy as np
import pytest

from egodtm_robot.comparison.inference.letters import compact_letters


def pairs(*names):
    return {frozenset(pair) for pair in names}


def test_arms_that_do_not_differ_share_one_letter():
    assert compact_letters(["x", "y", "z"], ()) == {"x": "a", "y": "a", "z": "a"}


def test_an_arm_between_two_shares_a_letter_with_each():
    found = compact_letters(["x", "y", "z"], pairs("xz"))
    assert found == {"x": "a", "y": "ab", "z": "b"}


def test_letters_begin_with_the_best():
    found = compact_letters(["x", "y", "z"], pairs("xy", "xz", "yz"))
    assert found == {"x": "a", "y": "b", "z": "c"}


def test_columns_that_others_hold_are_left_out():
    names = [str(number) for number in range(1, 9)]
    differ = pairs("17", "18", "24", "25", "26", "27", "28", "37", "38", "47", "48", "57")
    check(names, differ, compact_letters(names, differ))


@pytest.mark.parametrize("seed", range(20))
def test_two_arms_share_a_letter_exactly_if_they_do_not_differ(seed):
    generator = np.random.default_rng(seed)
    names = [f"arm{number}" for number in range(generator.integers(1, 9))]
    differ = {
        frozenset(pair)
        for pair in itertools.combinations(names, 2)
        if generator.random() < generator.choice([0.2, 0.5, 0.8])
    }
    check(names, differ, compact_letters(names, differ))


def check(names, differ, letters):
    for pair in itertools.combinations(names, 2):
        shared = set(letters[pair[0]]) & set(letters[pair[1]])
        assert bool(shared) == (frozenset(pair) not in differ)
    columns = {
        letter: {name for name in names if letter in letters[name]}
        for letter in set("".join(letters.values()))
    }
    for one, other in itertools.permutations(columns.values(), 2):
        assert not one <= other
    assert letters[names[0]].startswith("a")


def test_no_arms_have_no_letters():
    assert compact_letters([], ()) == {}


def test_bad_names_are_refused():
    with pytest.raises(ValueError, match="different names"):
        compact_letters(["x", "x"], ())
    with pytest.raises(ValueError, match="pairs of two"):
        compact_letters(["x", "y"], pairs("xq"))
    with pytest.raises(ValueError, match="pairs of two"):
        compact_letters(["x", "y"], pairs("x"))

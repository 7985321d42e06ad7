"""The nouns of texts, and actions as numbers."""

import numpy as np

from pretrain.clips.actions import MOST_NOUNS, Action, action_numbers
from pretrain.clips.clip import Boxes
from pretrain.clips.nouns import named_things


def boxes(*names: str) -> Boxes:
    count = len(names)
    return Boxes(
        frame=np.zeros(count, np.int16),
        track=np.arange(count, dtype=np.int16),
        category=list(names),
        side=np.zeros(count, np.int8),
        contact=np.zeros(count, bool),
        xyxy=np.tile(np.array([0, 0, 1, 1], np.float32), (count, 1)),
    )


def test_things_come_in_the_order_of_the_text_and_once():
    text = "#C C moves the Red Mug to the left of the cup; the red mug is nearer than the can"
    found = named_things(text, boxes("can", "red mug", "hand", "cup", "red mug", "fork"))
    assert found == ["red mug", "cup", "can"]


def test_parts_of_longer_names_and_of_words_do_not_count():
    named = boxes("cupboard door", "left cupboard door", "cup")
    assert named_things("opens the left cupboard door", named) == ["left cupboard door"]
    both = named_things("the left cupboard door hides the cupboard door", named)
    assert both == ["left cupboard door", "cupboard door"]


def test_hands_and_unnamed_things_are_no_nouns():
    assert named_things("moves the hand", boxes("hand", "pan")) == []
    assert named_things("", boxes()) == []


def test_the_last_word_of_a_noun_is_its_class():
    red, blue = (
        action_numbers(Action("move", frozenset({f"{color} mug"}), "move"))
        for color in ("red", "blue")
    )
    assert red == blue
    assert len(red) == 1 + MOST_NOUNS
    assert red[2:] == [0] * (MOST_NOUNS - 1)
    assert 0 < min(red[:2]) <= max(red) < 2**63
    assert red[0] != action_numbers(Action("turn", frozenset({"mug"}), "turn"))[0]


def test_a_class_that_holds_both_stands_for_its_noun():
    numbers = action_numbers(Action("17", frozenset(), "17"))
    assert numbers[0] == numbers[1] != 0
    assert action_numbers(None) == [0] * (1 + MOST_NOUNS)

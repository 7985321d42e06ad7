"""Texts reach a model in the words that a loader says."""

import pytest

from pretrain.evaluate.loader import LoaderConfig
from pretrain.evaluate.shown_texts import shown_text

WEARER = "#C C opens the Drawer"


@pytest.mark.parametrize(
    ("text", "settings", "shown"),
    [
        (WEARER, {}, WEARER),
        (WEARER, {"tags": "drop"}, "opens the Drawer"),
        (WEARER, {"tags": "name"}, "the person opens the Drawer"),
        ("#O A man X walks", {"tags": "name"}, "another person walks"),
        ("#O walks", {"tags": "drop"}, "walks"),
        ("#C C stirs #unsure", {"tags": "drop"}, "stirs"),
        ("#C C stirs #unsure", {"tags": "keep"}, "#C C stirs #unsure"),
        ("open #Cupboard", {"tags": "drop"}, "open #Cupboard"),
        (WEARER, {"lower_case": True}, "#c c opens the drawer"),
        (WEARER, {"template": "a video of {}", "tags": "drop"}, "a video of opens the Drawer"),
        ("{braces} stay", {"template": "{}!"}, "{braces} stay!"),
    ],
)
def test_words(text, settings, shown):
    assert shown_text(text, LoaderConfig(**settings)) == shown

"""The action that a clip shows, as data sets give it: a class of verb and classes of nouns."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Action:
    """What is done with what.

    Attributes:
        verb: class of the verb: a number of EPIC-KITCHENS-100 as text, or a word.
        nouns: classes of all nouns, likewise.
        label: the class that recognition asks for: verb and main noun of EPIC-KITCHENS-100
            (``0:2``), a number of EGTEA Gaze+, or a word.
    """

    verb: str
    nouns: frozenset[str]
    label: str


def action_of(extra: Mapping[str, Any]) -> Action | None:
    """The action among a clip's further facts (:attr:`pretrain.clips.clip.Clip.extra`).

    EPIC-KITCHENS-100 brings ``verb_class``, ``noun_class`` and ``all_noun_classes``. Synthetic
    clips bring an action, what it is done to (``subject``) and possibly with (``other``); their
    label is the action. EGTEA Gaze+ numbers its pairs of verb and noun (``action``) and does not
    give the parts; there the number stands for the verb.

    Returns:
        None if the facts name no action.
    """
    if "verb_class" in extra and "noun_class" in extra:
        main = str(extra["noun_class"])
        nouns = extra.get("all_noun_classes") or [main]
        verb = str(extra["verb_class"])
        return Action(verb, frozenset(map(str, nouns)), f"{verb}:{main}")
    if "action" not in extra:
        return None
    verb = str(extra["action"])
    named = [extra.get("subject"), extra.get("other")]
    return Action(verb, frozenset(str(noun) for noun in named if noun), verb)

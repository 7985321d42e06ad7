"""The action that a clip shows, as data sets give it: a class of verb and classes of nouns."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MOST_NOUNS = 4
"""Nouns of an action that :func:`action_numbers` keeps."""


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


def action_numbers(action: Action | None) -> list[int]:
    """An action as numbers that are compared for equality: its verb, then MOST_NOUNS nouns.

    Of a noun of several words the last one counts, so that a red mug and a blue mug are the same
    noun. An action without nouns stands for its own noun, because its class holds both.

    Args:
        action: of a clip; None if it is not known.

    Returns:
        Numbers below 2**63, the same in every process; 0 where there is nothing.
    """
    if action is None:
        return [0] * (1 + MOST_NOUNS)
    heads = sorted({noun.split()[-1] for noun in action.nouns if noun.split()})[:MOST_NOUNS]
    numbers = [_number(word) for word in [action.verb, *(heads or [action.verb])]]
    return numbers + [0] * (1 + MOST_NOUNS - len(numbers))


def _number(word: str) -> int:
    digest = hashlib.blake2b(word.lower().encode(), digest_size=8).digest()
    return max(1, int.from_bytes(digest, "big") >> 1)

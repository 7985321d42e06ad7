"""Captions from a template: true to the facts, and false ones that differ in one thing."""

import hashlib
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from egodtm_robot.core.fingerprints import hash_parts
from pretrain.annotate.captions.base import CaptionAnnotator, Facts
from pretrain.annotate.captions.nouns import base_form, inflect_like
from pretrain.annotate.errors import AnnotatorOptionError
from pretrain.clips.annotated_clip import AnnotatedClip
from pretrain.clips.statements import MOTIONS, OPPOSITE, Statement, listed
from pretrain.model.tokenizer import CONTEXT, encode

CODE_VERSION = 3
"""Of facts and template: part of the fingerprint of every writer, since all fall back on it."""

LEAST_STATEMENTS = 2
"""Statements of space that a caption has where the clip tells as many."""

_OPPOSITE_VERBS = (
    ("open", "close"),
    ("open", "shut"),
    ("pick up", "put down"),
    ("turn on", "turn off"),
    ("switch on", "switch off"),
    ("put on", "take off"),
    ("push", "pull"),
    ("lift", "lower"),
    ("tie", "untie"),
    ("lock", "unlock"),
    ("fold", "unfold"),
    ("wrap", "unwrap"),
    ("screw", "unscrew"),
    ("load", "unload"),
    ("fill", "empty"),
    ("cover", "uncover"),
    ("pack", "unpack"),
    ("tighten", "loosen"),
    ("attach", "detach"),
    ("zip", "unzip"),
    ("button", "unbutton"),
    ("plug", "unplug"),
    ("roll", "unroll"),
)
# Of several contraries the first one counts.
_OPPOSITES = {
    first: second for pair in reversed(_OPPOSITE_VERBS) for first, second in (pair[::-1], pair)
}

_SWAPS = (
    ("to the left", "to the right"),
    ("to left", "to right"),
    ("leftwards", "rightwards"),
    ("from left to right", "from right to left"),
    ("upwards", "downwards"),
    ("upward", "downward"),
    ("up", "down"),
    ("closer", "away"),
    ("anticlockwise", "clockwise"),
    ("counterclockwise", "clockwise"),
)
"""Words of direction and their contraries; the longer before those that they hold."""


@dataclass(frozen=True)
class Style:
    """Which facts a caption tells; the same for a caption and its distractors.

    Attributes:
        motion: whether it tells the motion.
        places: how many of the subject's places.
        hands: how many of the hands' places.
    """

    motion: bool
    places: int
    hands: int


def draw_style(facts: Facts, generator: np.random.Generator) -> Style:
    """A choice of facts: at random, but of at least :data:`LEAST_STATEMENTS` if there are any."""
    style = Style(
        motion=bool(generator.random() < 0.8),
        places=int(generator.choice([0, 1, 2, 3], p=[0.15, 0.35, 0.35, 0.15])),
        hands=int(generator.random() < 0.3),
    )
    told = len(facts.motion) * style.motion + min(style.places, len(facts.places)) + style.hands
    if told < LEAST_STATEMENTS:
        style = replace(style, motion=True, places=max(style.places, LEAST_STATEMENTS))
        told = len(facts.motion) + min(style.places, len(facts.places))
        style = replace(style, hands=max(style.hands, LEAST_STATEMENTS - told))
    return style


def word(facts: Facts, style: Style) -> tuple[str, tuple[Statement, ...]]:
    """The caption, and what it states beyond the narration.

    What comes last is left out where the text encoder would cut it off.
    """
    parts: list[tuple[str, tuple[Statement, ...]]] = [(facts.parsed.text, ())]
    if facts.hand_seen:
        hands = "both hands" if facts.hand == "both" else f"the {facts.hand} hand"
        parts.append((f" with {hands}", facts.hand_seen))
    if style.motion and facts.motion:
        ways = listed([MOTIONS[str(statement.value)] for statement in facts.motion])
        mover = facts.mover
        if mover == "it" and len(facts.parsed.nouns) > 1:
            mover = f"the {facts.subject}"
        parts.append((f", moving {mover} {ways}", facts.motion))
    for when, group in itertools.groupby(facts.places[: style.places], lambda place: place.when):
        chosen = list(group)
        words = listed([place.words for place in chosen])
        statements = tuple(place.statement for place in chosen)
        parts.append((f"; the {facts.subject} is {words} {when}", statements))
    for side, place in facts.hands[: style.hands]:
        words = f"; the {side} hand is {place.words} {place.when}"
        parts.append((words, (place.statement,)))
    while True:
        text = "".join(words for words, _ in parts).strip(" ;,")
        if len(parts) == 1 or fits(text):
            return text, tuple(itertools.chain.from_iterable(said for _, said in parts))
        parts.pop()


def fits(text: str) -> bool:
    """Whether the text encoder sees all of a text."""
    return len(encode(text)) + 2 <= CONTEXT


def false_captions(
    facts: Facts, style: Style, count: int, generator: np.random.Generator
) -> tuple[str, ...]:
    """Captions that are false of the clip in hand, direction or action alone.

    Args:
        facts: of the true caption.
        style: of the true caption.
        count: how many at most; there are fewer where nothing is known that could be turned round.
        generator: of their order.
    """
    true_text = word(facts, style)[0]
    texts: list[str] = []
    for other in _variants(facts):
        text = word(other, style)[0]
        if text != true_text and text not in texts:
            texts.append(text)
    texts = texts[:count]
    return tuple(texts[i] for i in generator.permutation(len(texts)))


def _variants(facts: Facts) -> Iterator[Facts]:
    """False facts, the hardest to tell from the true ones first."""
    hand, way, verb = _other_hand(facts), _reversed(facts), _opposite_verb(facts)
    yield from (one for one in (hand, way, verb) if one)
    if hand:
        yield from (one for one in (_reversed(hand), _opposite_verb(hand)) if one)
    for number in range(len(facts.motion) if len(facts.motion) > 1 else 0):
        yield replace(facts, motion=_turned(facts.motion, {number}))


def _other_hand(facts: Facts) -> Facts | None:
    if facts.hand not in ("left", "right"):
        return None
    other = "right" if facts.hand == "left" else "left"
    text = re.sub(rf"\b{facts.hand}(?=[ -]hand\b)", other, facts.parsed.text, flags=re.IGNORECASE)
    seen = tuple(replace(statement, value=other) for statement in facts.hand_seen)
    if text == facts.parsed.text and not seen:
        return None
    return replace(
        facts,
        parsed=replace(facts.parsed, text=text),
        hand=other,  # type: ignore[arg-type]
        hand_seen=seen,
    )


def _reversed(facts: Facts) -> Facts | None:
    """The other way round, in the narration's words and in what was seen."""
    text = facts.parsed.text
    if facts.parsed.direction:
        for pair in _SWAPS:
            for old, new in (pair, pair[::-1]):
                pattern = rf"\b{old}\b(?! of\b)"
                if text == facts.parsed.text and re.search(pattern, text):
                    text = re.sub(pattern, new, text)
        if text == facts.parsed.text:
            return None
    elif not facts.motion:
        return None
    return replace(
        facts,
        parsed=replace(facts.parsed, text=text),
        motion=_turned(facts.motion, set(range(len(facts.motion)))),
    )


def _turned(motion: tuple[Statement, ...], which: set[int]) -> tuple[Statement, ...]:
    return tuple(
        replace(statement, value=OPPOSITE[str(statement.value)]) if number in which else statement
        for number, statement in enumerate(motion)
    )


def _opposite_verb(facts: Facts) -> Facts | None:
    """The contrary action, with the motion that it would have."""
    verb = facts.parsed.verb
    if verb not in _OPPOSITES or facts.parsed.direction:
        return None
    old, _, old_particle = verb.partition(" ")
    new, _, new_particle = _OPPOSITES[verb].partition(" ")
    words = facts.parsed.text.split(" ")
    start = next((i for i, one in enumerate(words) if base_form(one.lower()) == old), None)
    if start is None or not inflect_like(words[start].lower(), new):
        return None
    words[start] = inflect_like(words[start].lower(), new)
    if old_particle:
        if old_particle not in words[start:]:
            return None
        words[words.index(old_particle, start)] = new_particle
    return replace(
        facts,
        parsed=replace(facts.parsed, text=" ".join(words)),
        motion=_turned(facts.motion, set(range(len(facts.motion)))),
    )


class TemplateCaptions(CaptionAnnotator):
    """Writes captions from facts alone.

    Args:
        seed: of the choice of facts; a clip's caption depends on it and on the clip's key.
        distractors: false captions a clip at most.
        caution: see :class:`CaptionAnnotator`.
        batch_size: clips at once.

    Raises:
        AnnotatorOptionError: an option is out of its range.
    """

    def __init__(
        self, seed: int = 0, distractors: int = 4, caution: float = 1.25, batch_size: int = 256
    ) -> None:
        if distractors < 0 or caution < 1 or batch_size < 1:
            raise AnnotatorOptionError(
                "Expected distractors of at least 0, caution and batch_size of at least 1, got "
                f"{distractors}, {caution} and {batch_size}."
            )
        super().__init__(caution)
        self.name = "template"
        self.batch_size = batch_size
        self._seed, self._distractors = seed, distractors
        self.fingerprint = hash_parts("template", CODE_VERSION, seed, distractors, caution)

    def write(
        self, clips: Sequence[AnnotatedClip], facts: Sequence[Facts]
    ) -> list[Mapping[str, Any]]:
        """See :class:`CaptionAnnotator`."""
        return [self.write_one(clip.key, known) for clip, known in zip(clips, facts, strict=True)]

    def write_one(self, key: str, facts: Facts) -> dict[str, Any]:
        """Caption, distractors and report of the clip of a key."""
        number = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big")
        generator = np.random.default_rng([self._seed, number])
        style = draw_style(facts, generator)
        caption, statements = word(facts, style)
        return {
            "caption": caption,
            "distractors": false_captions(facts, style, self._distractors, generator),
            "caption_report": {
                "writer": "template",
                "fallback": None,
                "problem": facts.parsed.problem,
                "statements": [statement.to_json() for statement in statements],
            },
        }

"""Captions by a language model: asked in chat, its answer checked, the template where it fails.

A model is asked to put the facts of :mod:`pretrain.annotate.captions.base` into the narration. What
it answers may be anything, so it is only taken if it keeps the narration's verbs and nouns, says
nothing of space that was not measured, names nothing that was not detected, and fits the text
encoder. Otherwise the template's caption stands, and the report says why.
"""

import re
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from pretrain.annotate.captions.base import CaptionAnnotator, Facts
from pretrain.annotate.captions.nouns import base_form, head, parse, singular
from pretrain.annotate.captions.template import Style, TemplateCaptions, false_captions, fits
from pretrain.annotate.errors import AnnotatorOptionError
from pretrain.clips.annotated_clip import AnnotatedClip
from pretrain.clips.statements import MOTIONS, Statement, listed
from pretrain.model.tokenizer import CONTEXT

Message = dict[str, str]
"""``role`` (system, user or assistant) and ``content``, as chat interfaces have them."""

MOST_FACTS = 6
"""Facts that a model is given: more do not fit the text encoder."""

_PROMPTS = "prompts"
_TURN, _ANSWER = "---", "==="
# What a sentence on a view may name without its being detected.
_OF_THE_VIEW = frozenset(
    """
    view image picture frame scene video camera hand finger side left right top bottom centre center
    middle corner edge front back foreground background upper lower direction motion movement
    position time start end
    """.split()  # noqa: SIM905
)
_SPATIAL = {
    "left": "left", "right": "right", "leftward": "left", "leftwards": "left",
    "rightward": "right", "rightwards": "right", "up": "up", "upward": "up", "upwards": "up",
    "down": "down", "downward": "down", "downwards": "down", "toward": "toward",
    "towards": "toward", "away": "away", "top": "top", "bottom": "bottom", "upper": "upper",
    "lower": "lower", "centre": "centre", "center": "centre", "middle": "centre",
    "nearer": "nearer", "closer": "nearer", "farther": "farther", "further": "farther",
    "behind": "behind", "above": "above", "below": "below", "beneath": "below", "under": "under",
    "beside": "beside", "clockwise": "clockwise", "anticlockwise": "anticlockwise",
    "counterclockwise": "anticlockwise",
}  # fmt: skip
"""Words of space and what they come to."""

_RELATION = re.compile(
    r"\b(?P<relation>(?:left|right|top|front|side) of|"
    r"(?:nearer|closer|farther|further) (?:than|to)|"
    r"near|next to|beside|behind|above|below|beneath|under|over|between|inside) "
    r"(?:the |a |an )?(?P<noun>[a-z' -]+)"
)
"""A relation of two things, as sentences put it."""


class Unanswered(str):
    """Why a model gave no answer, in place of it."""


class LanguageModelCaptions(CaptionAnnotator):
    """Captions by a model that is asked in chat.

    Args:
        prompt: name of a file in ``pretrain/annotate/captions/prompts`` without its ending, or a
            path.
        seed: see :class:`~pretrain.annotate.captions.template.TemplateCaptions`, to which answers
            fall back.
        distractors: false captions a clip at most.
        caution: see :class:`CaptionAnnotator`.

    Raises:
        AnnotatorOptionError: there is no such prompt, or an option is out of its range.
    """

    def __init__(self, prompt: str, seed: int, distractors: int, caution: float) -> None:
        super().__init__(caution)
        self._prompt = read_prompt(prompt)
        self._template = TemplateCaptions(seed, distractors, caution)
        self._seed, self._distractors = seed, distractors

    @abstractmethod
    def ask(self, conversations: Sequence[Sequence[Message]]) -> list[str]:
        """The answer to each, or an :class:`Unanswered`."""

    def write(
        self, clips: Sequence[AnnotatedClip], facts: Sequence[Facts]
    ) -> list[Mapping[str, Any]]:
        """See :class:`CaptionAnnotator`."""
        results = [
            self._template.write_one(clip.key, known)
            for clip, known in zip(clips, facts, strict=True)
        ]
        asked = []
        for index, known in enumerate(facts):
            if not describe(known):
                results[index]["caption_report"]["fallback"] = "nothing known: there are no facts"
            elif known.parsed.problem:
                reason = f"unusable narration: {known.parsed.problem}"
                results[index]["caption_report"]["fallback"] = reason
            else:
                asked.append(index)
        answers = self.ask([conversation(self._prompt, facts[index]) for index in asked])
        for index, answer in zip(asked, answers, strict=True):
            if isinstance(answer, Unanswered):
                results[index]["caption_report"]["fallback"] = f"no answer: {answer}"
                continue
            caption = tidy(answer, facts[index])
            refusal = check(caption, facts[index])
            if refusal is not None:
                results[index]["caption_report"]["fallback"] = refusal
                results[index]["caption_report"]["refused"] = caption
                continue
            results[index] = self._accepted(clips[index].key, caption, facts[index])
        return list(results)

    def _accepted(self, key: str, caption: str, facts: Facts) -> dict[str, Any]:
        statements = [s for s, _ in described(facts) if is_said(s, caption, facts)]
        return {
            "caption": caption,
            "distractors": false_versions(caption, facts, self._distractors, self._seed),
            "caption_report": {
                "writer": self.name,
                "fallback": None,
                "problem": None,
                "statements": [statement.to_json() for statement in statements],
            },
        }


# ------------------------------------------------------------------------------------ the question


def read_prompt(prompt: str) -> str:
    """The text of a prompt by its name or path.

    A prompt is what the system is told, then turns behind lines of "---"; a turn is a question, and
    behind a line of "===" its answer. The last turn has no answer, and holds ``{note}`` and
    ``{facts}``.

    Raises:
        AnnotatorOptionError: there is no such prompt, or it lacks a placeholder.
    """
    folder = resources.files("pretrain.annotate.captions") / _PROMPTS
    packaged = folder / f"{prompt}.txt"
    if packaged.is_file():
        text = packaged.read_text(encoding="utf-8")
    elif Path(prompt).expanduser().is_file():
        text = Path(prompt).expanduser().read_text(encoding="utf-8")
    else:
        names = sorted(file.name.removesuffix(".txt") for file in folder.iterdir())
        raise AnnotatorOptionError(
            f"Expected prompt to be one of {', '.join(names)} or the path of a text file, got "
            f"{prompt!r}."
        )
    last = text.split(f"\n{_TURN}\n")[-1]
    missing = [name for name in ("{note}", "{facts}") if name not in last]
    if missing or _ANSWER in last.splitlines():
        raise AnnotatorOptionError(
            f"Expected the last turn of the prompt {prompt!r} to hold {{note}} and {{facts}} and "
            f"no answer, got {last!r}."
        )
    return text


def conversation(prompt: str, facts: Facts) -> list[Message]:
    """The messages that ask for a clip's caption."""
    system, *turns = prompt.split(f"\n{_TURN}\n")
    messages = [{"role": "system", "content": system.strip()}]
    for turn in turns[:-1]:
        question, _, answer = turn.partition(f"\n{_ANSWER}\n")
        messages.append({"role": "user", "content": question.strip()})
        messages.append({"role": "assistant", "content": answer.strip()})
    listing = "\n".join(f"- {line}" for line in describe(facts))
    last = turns[-1].replace("{facts}", listing).replace("{note}", facts.parsed.text)
    messages.append({"role": "user", "content": last.strip()})
    return messages


def describe(facts: Facts) -> list[str]:
    """Facts in words, a line each."""
    lines: list[str] = []
    for _, line in described(facts):
        if line not in lines:
            lines.append(line)
    return lines


def described(facts: Facts) -> list[tuple[Statement, str]]:
    """Each statement that a caption may make with the line that tells it."""
    told: list[tuple[Statement, str]] = []
    if facts.hand_seen:
        hands = "both hands" if facts.hand == "both" else f"the {facts.hand} hand"
        told += [(statement, f"C uses {hands}") for statement in facts.hand_seen]
    if facts.motion:
        ways = listed([MOTIONS[str(statement.value)] for statement in facts.motion])
        mover = f"the {facts.subject}" if facts.mover == "it" else facts.mover
        told += [(statement, f"{mover} moves {ways}") for statement in facts.motion]
    for place in facts.places:
        told.append((place.statement, f"{place.when} the {facts.subject} is {place.words}"))
    for side, place in facts.hands:
        told.append((place.statement, f"{place.when} the {side} hand is {place.words}"))
    return told[:MOST_FACTS]


# -------------------------------------------------------------------------------------- the answer


def tidy(answer: str, facts: Facts) -> str:
    """The sentence of an answer: its first line, without quotation marks and full stop."""
    lines = [line.strip() for line in answer.strip().splitlines() if line.strip()]
    text = lines[0].strip("\"'` *").rstrip(" .") if lines else ""
    mark = re.match(r"#\s*\w+\s+", facts.parsed.text)
    if mark and text[:2] in ("C ", "O ") and not text.startswith("#"):
        text = mark[0] + text
    return " ".join(text.split())


def check(caption: str, facts: Facts) -> str | None:
    """Why a caption cannot be taken: a word for the kind and what is wrong; None if it can."""
    if not caption:
        return "empty: the answer holds no words"
    if not fits(caption):
        return f"too long: the answer has more than {CONTEXT} tokens"
    start = re.match(r"#\s*\w+\s+\S+", facts.parsed.text)
    if start and not caption.lower().startswith(start[0].lower()):
        return f"begins otherwise: expected {start[0]!r}, got {caption[:20]!r}"
    words = re.findall(r"[a-z'\u2019-]+", caption.lower())
    forms = {base_form(word) for word in words}
    for verb in facts.parsed.verbs:
        if verb.split()[0] not in forms and not _third_person_kept(verb, words):
            return f"verb lost: {verb!r}"
    things = {singular(word) for word in words}
    for noun in facts.parsed.nouns:
        if head(noun) not in things:
            return f"noun lost: {noun!r}"
    return _unknown_thing(caption, facts) or _unknown_place(caption, facts, words)


def _third_person_kept(verb: str, words: Sequence[str]) -> bool:
    """A verb that the lexicon does not know, kept in the narration's own form."""
    return any(word.startswith(verb.split()[0]) for word in words)


def _unknown_thing(caption: str, facts: Facts) -> str | None:
    known = {head(noun) for noun in (*facts.parsed.nouns, *facts.detected)}
    known |= {singular(word) for noun in facts.parsed.nouns for word in noun.split()}
    for noun in parse(caption).nouns:
        if head(noun) not in known | _OF_THE_VIEW:
            return f"not detected: {noun!r}"
    return None


def _unknown_place(caption: str, facts: Facts, words: Sequence[str]) -> str | None:
    sides = {"left", "right"} if facts.hand == "both" else {facts.hand}
    told = " ".join([facts.parsed.text, *describe(facts)]).lower()
    told = re.sub(r"\b(a|an|his|her|their) ", "the ", told)
    for side in re.findall(r"\b(left|right) hand\b", caption.lower()):
        if side not in sides and f"{side} hand" not in told:
            return f"wrong hand: {side!r}"
    if facts.hand in ("left", "right"):
        other = "right" if facts.hand == "left" else "left"
        if re.search(rf"\b(with|using|in) (the|his|her|their) {other} hand\b", caption.lower()):
            return f"wrong hand: {other!r}"
    known = {_SPATIAL[word] for word in re.findall(r"[a-z]+", told) if word in _SPATIAL}
    for word in words:
        if word in _SPATIAL and _SPATIAL[word] not in known:
            return f"not measured: {word!r}"
    for match in _RELATION.finditer(caption.lower()):
        relation = match["relation"].replace("closer", "nearer").replace("further", "farther")
        names = (*facts.detected, *facts.parsed.nouns, "view")
        if not any(
            f"{relation} the {name}" in told and match["noun"].startswith(name) for name in names
        ):
            return f"not measured: {match[0].strip()!r}"
    if not any(is_said(statement, caption, facts) for statement, _ in described(facts)):
        return "nothing added: the answer tells none of the facts"
    return None


def is_said(statement: Statement, caption: str, facts: Facts) -> bool:
    """Whether a caption tells a statement, by its words."""
    text = caption.lower()
    if statement.kind == "hand":
        return ("both hands" if facts.hand == "both" else f"{statement.value} hand") in text
    if statement.kind == "motion":
        patterns = {
            "left": r"\b(to the left(?! of)|leftwards?)\b",
            "right": r"\b(to the right(?! of)|rightwards?)\b",
            "up": r"\b(up|upwards?)\b",
            "down": r"\b(down|downwards?)\b",
            "toward": r"\btowards?\b",
            "away": r"\baway\b",
        }
        # The particle of a verb ("picks up") is no motion.
        own = [verb.split()[1] for verb in facts.parsed.verbs if " " in verb]
        least = 1 + own.count(str(statement.value))
        return len(re.findall(patterns[str(statement.value)], text)) >= least
    places = [*facts.places, *(place for _, place in facts.hands)]
    words = next((place.words for place in places if place.statement == statement), None)
    if words is None:
        return False
    if statement.kind == "region":
        return f"{statement.value} of the view" in text
    return words in text


def false_versions(caption: str, facts: Facts, count: int, seed: int) -> tuple[str, ...]:
    """The caption with hand, direction or action turned round, see :func:`false_captions`."""
    said = replace(parse(caption), hand=facts.hand)
    own = replace(facts, parsed=said, hand_seen=(), motion=(), places=(), hands=())
    generator = np.random.default_rng([seed, len(caption)])
    return false_captions(own, Style(motion=False, places=0, hands=0), count, generator)

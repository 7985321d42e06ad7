"""What a narration says: who acts, by which verbs, on which things, with which hand, which way.

Narrations are short and of few shapes, so rules do: Ego4D's sentences ("#C C picks up the red mug",
"#O A man X opens the door"), EPIC-KITCHENS' commands ("put down plate"), EGTEA Gaze+'s labels
("Turn on_faucet") and Something-Something's templates ("Pushing [something] to the left"). The
lexicon (``lexicon.yaml``) holds verbs and function words alone; what is left over between them are
the nouns, whatever they are. Where there is no verb, :attr:`Parsed.problem` says so.
"""

import re
from dataclasses import dataclass
from importlib import resources
from typing import Any, Literal

import yaml

Actor = Literal["wearer", "other"]
Hand = Literal["left", "right", "both", ""]
Direction = Literal[
    "left", "right", "up", "down", "toward", "away", "clockwise", "anticlockwise", ""
]


def _lexicon() -> dict[str, Any]:
    """Lists of words by what they do, and particles with their verbs."""
    text = (resources.files("pretrain.annotate.captions") / "lexicon.yaml").read_text(
        encoding="utf-8"
    )
    lexicon: dict[str, Any] = yaml.safe_load(text)
    return lexicon


_LEXICON = _lexicon()
_VERBS = frozenset(_LEXICON["verbs"].split())
_TOOLS = frozenset(_LEXICON["tools"].split())
_ASPECTS = frozenset(_LEXICON["aspects"].split())
_ADVERBS = frozenset(_LEXICON["adverbs"].split())
_PREPOSITIONS = frozenset(_LEXICON["prepositions"].split())
_ARTICLES = frozenset(_LEXICON["articles"].split())
_PRONOUNS = frozenset(_LEXICON["pronouns"].split())
_PARTITIVES = frozenset(_LEXICON["partitives"].split())
_PEOPLE = frozenset(_LEXICON["people"].split())
_ALWAYS_PLURAL = frozenset(_LEXICON["plurals"].split())
_SINGULARS_IN_S = frozenset(_LEXICON["singulars_in_s"].split())
_THINGS_IN_LY = frozenset(_LEXICON["things_in_ly"].split())
_PHRASAL = {particle: verbs.split() for particle, verbs in _LEXICON["phrasal"].items()}

_DIRECTIONS: tuple[tuple[Direction, str], ...] = (
    ("anticlockwise", r"\b(anti-?clockwise|counter-?clockwise)\b"),
    ("clockwise", r"(?<!anti)(?<!anti-)(?<!counter)(?<!counter-)\bclockwise\b"),
    ("left", r"\b(to(wards?)? (the|his|her|their|its|my) left|left-?wards?|from right to left)\b"),
    (
        "right",
        r"\b(to(wards?)? (the|his|her|their|its|my) right|right-?wards?|from left to right)\b",
    ),
    ("up", r"\bup-?wards?\b"),
    ("down", r"\bdown-?wards?\b"),
    (
        "toward",
        r"\b(closer|toward (the )?camera|towards (the )?camera|to(wards?)? (him|her)self)\b",
    ),
    ("away", r"\baway\b"),
)
_MARK = re.compile(r"^\s*#\s*(?P<who>[a-z]+)\b", re.IGNORECASE)
_TAG = re.compile(r"#\s*(unsure|summary|unknown)\b", re.IGNORECASE)
_PHRASAL_HYPHEN = re.compile(rf"(?<=[a-z])-(?=({'|'.join(sorted(_PHRASAL))})\b)")
_WORD = re.compile(r"[^\W_]+(?:['\u2019-][^\W_]+)*|[,;.]")


@dataclass(frozen=True)
class Parsed:
    """A narration taken apart.

    Attributes:
        text: the narration in one line, without narrators' tags ("#unsure") and full stop.
        actor: ``wearer`` of the camera, or an ``other`` person (Ego4D's "#O").
        verbs: base forms with their particles ("pick up"), in the order of the text.
        nouns: things in the order of the text, lower case, with their adjectives, without articles
            ("red mug"); hands and people that act are not among them.
        hand: which hand the text says acts, or "".
        direction: which way the text says something goes, or "".
        problem: what is wrong with the narration, or None.
    """

    text: str
    actor: Actor
    verbs: tuple[str, ...]
    nouns: tuple[str, ...]
    hand: Hand
    direction: Direction
    problem: str | None

    @property
    def verb(self) -> str:
        """The first verb, or ""."""
        return self.verbs[0] if self.verbs else ""


def parse(narration: str) -> Parsed:
    """Take a narration apart.

    Args:
        narration: of one action, in any of the manners named above.
    """
    text = " ".join(_TAG.sub(" ", narration).split()).rstrip(" .;,")
    mark = _MARK.match(text)
    actor: Actor = "other" if mark and mark["who"].lower() == "o" else "wearer"
    body = text[mark.end() :] if mark else text
    words = [word.lower() for word in _WORD.findall(_PHRASAL_HYPHEN.sub(" ", body))]
    subject = _subject_length(words, marked=mark is not None)
    verbs, nouns = _read(words[subject:], finite=subject > 0)
    problem = None
    if not words:
        problem = "Expected a narration of what happens, got an empty one."
    elif not verbs:
        problem = f"Expected a verb in the narration, found none in {narration!r}."
    return Parsed(text, actor, verbs, nouns, _hand(text), _direction(text, verbs), problem)


def head(noun: str) -> str:
    """The word that names the thing, in the singular: "red mugs" -> "mug"."""
    return singular(noun.split()[-1])


def singular(word: str) -> str:
    """A noun's singular by its spelling; words that have none ("scissors") stay."""
    if word in _ALWAYS_PLURAL | _SINGULARS_IN_S:
        return word
    if len(word) < 4 or word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("es") and word[:-2] in _SINGULARS_IN_S:
        return word[:-2]
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith("ves"):
        return {"knives": "knife", "leaves": "leaf", "loaves": "loaf", "shelves": "shelf"}.get(
            word, word[:-1]
        )
    if word.endswith(("ches", "shes", "xes", "sses", "toes")):
        return word[:-2]
    return word[:-1] if word.endswith("s") else word


def base_form(word: str) -> str:
    """The base form of a verb in any of its forms ("picks", "chopping"), or "" for other words."""
    return next((form for form in _base_forms(word) if form in _VERBS), "")


def third_person(verb: str) -> str:
    """A base form's third person: "pick up" -> "picks up"."""
    first, _, rest = verb.partition(" ")
    if re.search(r"(s|x|z|ch|sh|o)$", first):
        first += "es"
    elif re.search(r"[^aeiou]y$", first):
        first = first[:-1] + "ies"
    else:
        first += "s"
    return f"{first} {rest}".strip()


_IRREGULAR = {
    "took": "take", "taken": "take", "held": "hold", "ran": "run", "running": "run",
    "lying": "lay", "lies": "lay", "tying": "tie", "broke": "break", "cut": "cut",
    "puts": "put", "putting": "put", "threw": "throw", "has": "hold", "got": "get",
    "swept": "sweep", "brought": "bring", "gave": "give", "left": "leave", "kept": "keep",
}  # fmt: skip


def _base_forms(word: str) -> list[str]:
    """Spellings that the base form may have, the likeliest first."""
    forms = [word]
    if word in _IRREGULAR:
        forms.append(_IRREGULAR[word])
    if word.endswith("ies"):
        forms.append(word[:-3] + "y")
    if word.endswith("s"):
        forms += [word[:-1], word[:-2] if word.endswith("es") else word]
    for ending in ("ing", "ed"):
        if word.endswith(ending) and len(word) > len(ending) + 2:
            stem = word[: -len(ending)]
            if stem[-1] == stem[-2]:
                forms.append(stem[:-1])
            forms += [stem, stem + "e"]
            if ending == "ed" and stem.endswith("i"):
                forms.append(stem[:-1] + "y")
    return forms


def _subject_length(words: list[str], marked: bool) -> int:
    """How many words at the beginning say who acts."""
    if words[:1] == ["c"]:
        return 1
    if marked or words[:1] == ["someone"] or set(words[:4]) & _PEOPLE:
        for place, word in enumerate(words):
            known = word in _PEOPLE or word in _ARTICLES or word in ("x", "y", "z", "b", "o")
            if place and not known and (base_form(word) or word in _ADVERBS):
                return place
        return 1 if marked and len(words) > 1 and words[0] in ("x", "y", "z", "o") else 0
    return 0


def _read(words: list[str], finite: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Verbs and nouns of the words behind the subject; ``finite`` if there was one."""
    verbs: list[str] = []
    nouns: list[str] = []
    phrase: list[str] = []
    waiting = True  # for a verb
    determined = False  # an article came: what follows is a noun whatever it looks like

    def close() -> None:
        noun = " ".join(phrase)
        phrase.clear()
        if noun and noun not in nouns:
            nouns.append(noun)

    for place, word in enumerate(words):
        following = words[place + 1] if place + 1 < len(words) else ""
        if word in ",;.":
            close()
            waiting, determined = True, False
            continue
        if waiting and _is_beside_the_verb(word, following):
            continue
        if waiting and not determined:
            verb = base_form(word)
            if finite and verb == word and verbs and not word.endswith("s"):
                verb = ""  # "takes the knife and fork", "cuts the meat and peel"
            if not verb and finite and not verbs:
                verb = _unknown_verb(word, following)
            if verb and not (verbs and _is_noun_here(word, following)):
                close()
                verbs.append(verb)
                waiting = False
                continue
        if verbs and word in _PHRASAL and verbs[-1] in _PHRASAL[word]:
            # Behind the verb, or at the end of its object: "turns the tap on".
            at_end = not following or following in _PREPOSITIONS or following in ",;."
            if words[place - 1] == _last_verb(words[:place]) or at_end:
                close()
                verbs[-1] = f"{verbs[-1]} {word}"
                determined = False
                continue
        if word in _PREPOSITIONS and not (determined and word == "back"):
            if word == "of" and phrase and phrase[-1] in _PARTITIVES:
                phrase.clear()
            close()
            waiting = word in ("and", "then", "while", "as", "or", "to", "which", "who")
            determined = False
        elif word in _ARTICLES:
            close()
            determined = True
        elif (
            word in _PRONOUNS
            or word in _ADVERBS
            or (word.endswith("ly") and word not in _THINGS_IN_LY)
        ):
            close()
        elif word in ("hand", "hands", "finger", "fingers"):
            phrase.clear()
            waiting = determined = False
        else:
            waiting = waiting and not verbs
            phrase.append(word.removesuffix("'s").removesuffix("\u2019s"))
    close()
    return tuple(verbs), tuple(noun for noun in nouns if _names_a_thing(noun))


def _is_beside_the_verb(word: str, following: str) -> bool:
    """Whether a word before the verb is an adverb or tells only when: "still", "starts" cutting."""
    if word in _ADVERBS:
        return bool(following)
    aspect = {word, *_base_forms(word)} & _ASPECTS
    if aspect and (following.endswith("ing") or following == "to"):
        return True
    return word.endswith("ly") and not base_form(word)


def _last_verb(words: list[str]) -> str:
    """The last word if it is a verb's form."""
    return words[-1] if words and base_form(words[-1]) else ""


def _unknown_verb(word: str, following: str) -> str:
    """Base form of a word that stands where the verb belongs and is spelt as one."""
    if word in _PREPOSITIONS or word in _ARTICLES or word in _ALWAYS_PLURAL:
        return ""
    spelt = len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is"))
    return singular(word) if spelt and following else ""


def _is_noun_here(word: str, following: str) -> bool:
    """Whether a second word that could be a verb is none: "washes the cutting board and brush"."""
    return word in _TOOLS and (not following or following in _PREPOSITIONS)


def _names_a_thing(noun: str) -> bool:
    return noun not in ("left", "right", "camera", "position", "side", "way", "time", "times")


def _hand(text: str) -> Hand:
    """The hand that is said to act; none where both sides are named apart."""
    lowered = text.lower()
    if re.search(r"\b(both|two) (\w+ )?hands\b", lowered):
        return "both"
    found = set(re.findall(r"\b(left|right)[ -]hand\b", lowered))
    if len(found) != 1:
        return ""
    return "left" if found == {"left"} else "right"


def _direction(text: str, verbs: tuple[str, ...]) -> Direction:
    lowered = re.sub(r"\b(left|right)[ -]hands?\b", "", text.lower())
    for direction, pattern in _DIRECTIONS:
        if re.search(pattern, lowered):
            return direction
    # "moves the cup up", but not "picks the cup up".
    last = lowered.split()[-1:]
    for way in ("up", "down"):
        if last == [way] and not any(verb.endswith(f" {way}") for verb in verbs):
            return way
    return ""


def inflect_like(word: str, verb: str) -> str:
    """Another verb in the form of a word: "picking", "put" -> "putting"; "" for past forms."""
    if base_form(word) == word:
        return verb
    if word.endswith("ing"):
        return _gerund(verb)
    return third_person(verb) if word.endswith("s") else ""


def _gerund(verb: str) -> str:
    if verb.endswith("ie"):
        return verb[:-2] + "ying"
    if verb.endswith("e") and not verb.endswith(("ee", "oe", "ye")):
        return verb[:-1] + "ing"
    # One short vowel before one consonant: "put" -> "putting", but "pull" -> "pulling".
    if re.fullmatch(r"[^aeiou]*[aeiou][^aeiouwxy]", verb):
        return verb + verb[-1] + "ing"
    return verb + "ing"

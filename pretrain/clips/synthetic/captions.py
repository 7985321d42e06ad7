"""Texts: a narration in Ego4D's manner, a caption enriched by space, and captions that are false.

What is said of space is read off the boxes, masks and depth that come with the clip, see
:mod:`pretrain.clips.statements`. Distractors keep a caption's words and statements and change the
action, the direction or the hand to others that would be as likely.
"""

import itertools
from dataclasses import dataclass, replace

import numpy as np

from pretrain.clips.statements import MOTIONS, OPPOSITE, listed
from pretrain.clips.synthetic.actions import Acting

_VERBS: dict[str, tuple[str, ...]] = {
    "pick up": ("picks up the {s}", "takes the {s}", "lifts the {s}"),
    "put down": ("puts down the {s}", "places the {s}", "sets down the {s}"),
    "move": ("moves the {s} {d}", "shifts the {s} {d}"),
    "push": ("pushes the {s} {d}",),
    "pull": ("pulls the {s} {d}", "drags the {s} {d}"),
    "pour": ("pours from the {s} into the {o}",),
    "open": ("opens the {s} {d}",),
    "close": ("closes the {s} {d}", "shuts the {s} {d}"),
    "turn": ("turns the {s} {d}", "rotates the {s} {d}"),
    "press": ("presses the {s}",),
    "flip": ("flips the {s} {d}", "switches the {s} {d}"),
    "touch": ("touches the {s}",),
}

_DIRECTIONS = {
    "left": "to the left",
    "right": "to the right",
    "away": "away",
    "toward": "closer",
    "up": "up",
    "down": "down",
    "clockwise": "clockwise",
    "anticlockwise": "anticlockwise",
    "none": "",
}


@dataclass(frozen=True)
class Account:
    """What a caption says.

    Attributes:
        action: a name of an action.
        direction: of the action.
        hand: which acts.
        subject: noun of what is acted on.
        other: noun of a second object, or empty.
        mover: whether the subject is a part of furniture.
        motion: components of the motion through the image and in depth.
        region: where the subject is in the first frame, or empty.
        relations: of the subject to others in the first frame.
        idle: what the other hand does, or empty.
    """

    action: str
    direction: str
    hand: Acting
    subject: str
    other: str
    mover: bool
    motion: tuple[str, ...]
    region: str
    relations: tuple[tuple[str, str], ...]
    idle: str


@dataclass(frozen=True)
class Style:
    """Which words and parts a caption has; the same for a caption and its distractors."""

    verb: int
    motion: bool
    region: bool
    relations: int
    idle: bool


def _noun_phrase(account: Account, style: Style) -> str:
    verbs = _VERBS[account.action]
    text = verbs[style.verb % len(verbs)]
    direction = _DIRECTIONS[account.direction]
    if account.action in ("open", "close") and account.direction in ("toward", "away"):
        direction = ""  # drawers can only go that way
    return text.format(s=account.subject, o=account.other, d=direction).strip()


def caption(account: Account, style: Style) -> str:
    """The caption of an account."""
    hands = "both hands" if account.hand == "both" else f"the {account.hand} hand"
    text = f"#C C {_noun_phrase(account, style)} with {hands}"
    if style.motion and account.motion:
        ways = listed([MOTIONS[way] for way in account.motion])
        mover = "the hand" if account.mover else "it"
        text += f", moving {mover} {ways}"
    placed = []
    if style.region and account.region:
        placed.append(f"at the {account.region} of the view")
    placed += [f"{relation} the {noun}" for relation, noun in account.relations[: style.relations]]
    if placed:
        text += f"; the {account.subject} is {listed(placed)} at first"
    if style.idle and account.idle and account.hand != "both":
        idle_hand = "left" if account.hand == "right" else "right"
        text += f"; the {idle_hand} hand {account.idle}"
    return text


def narration(account: Account, style: Style, with_hand: bool) -> str:
    """One short sentence, as Ego4D's narrators write."""
    text = f"#C C {_noun_phrase(account, style)}"
    if with_hand:
        text += " with both hands" if account.hand == "both" else f" with the {account.hand} hand"
    return text


def draw_style(rng: np.random.Generator) -> Style:
    """Words and parts at random."""
    return Style(
        verb=0 if rng.random() < 0.6 else int(rng.integers(3)),
        motion=bool(rng.random() < 0.8),
        region=bool(rng.random() < 0.6),
        relations=int(rng.choice([0, 1, 2], p=[0.25, 0.45, 0.3])),
        idle=bool(rng.random() < 0.4),
    )


_CARRIED = (
    ("pick up", "up"),
    ("put down", "down"),
    ("move", "left"),
    ("move", "right"),
    ("move", "away"),
    ("move", "toward"),
)
_SLID = (
    ("push", "left"),
    ("push", "right"),
    ("push", "away"),
    ("pull", "toward"),
    ("touch", "none"),
)
# What would be the same to the eye.
_ALIKE = {frozenset({("move", way), ("push", way)}) for way in ("left", "right", "away")} | {
    frozenset({("move", "toward"), ("pull", "toward")})
}


def _alternatives(account: Account, kind: str) -> list[tuple[str, str, Acting]]:
    """Actions, directions and hands that the same subject could have met, the true one left out."""
    true = (account.action, account.direction)
    hands: list[Acting] = ["left", "right"]
    choices: list[tuple[str, str, Acting]] = []
    if kind in ("around", "above"):
        choices = [(a, d, hand) for a, d in _CARRIED for hand in hands]
    elif kind == "both":
        choices = [(a, d, "both") for a, d in _CARRIED]
    if kind in ("around", "above", "both"):
        for a, d in _SLID:
            # One pushes aside with the palm: to the left with the right hand.
            able = {"left": ["right"], "right": ["left"]}.get(d, hands) if a == "push" else hands
            choices += [(a, d, hand) for hand in able]  # type: ignore[misc]
        if account.action == "pour":
            choices += [("pour", "none", hand) for hand in hands]
    elif kind in ("drawer", "door", "sliding door", "lid"):
        opens = (
            account.direction
            if account.action == "open"
            else OPPOSITE.get(account.direction, "none")
        )
        if kind == "sliding door" and account.action == "touch":
            opens = "left"
        if kind == "drawer":
            opens = "toward"
        closes = OPPOSITE.get(opens, "none")
        both_ways = [("open", opens), ("close", closes), ("touch", "none")]
        choices = [(a, d, hand) for a, d in both_ways for hand in hands]
    elif kind == "knob":
        turns = [("turn", "clockwise"), ("turn", "anticlockwise"), ("touch", "none")]
        choices = [(a, d, hand) for a, d in turns for hand in hands]
    elif kind == "switch":
        flips = [("flip", "up"), ("flip", "down"), ("touch", "none")]
        choices = [(a, d, hand) for a, d in flips for hand in hands]
    elif kind == "button":
        presses = [("press", "none"), ("turn", "clockwise"), ("turn", "anticlockwise")]
        choices = [(a, d, hand) for a, d in presses for hand in hands]
    if account.motion and not account.mover:
        # Touching moves nothing: the motion that the others tell would give it away.
        choices = [choice for choice in choices if choice[0] != "touch"]
    return [
        choice
        for choice in choices
        if choice != (*true, account.hand) and frozenset({choice[:2], true}) not in _ALIKE
    ]


def _reversed(motion: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(OPPOSITE[way] for way in motion)


def _motion_of(
    account: Account, action: str, direction: str, rng: np.random.Generator
) -> tuple[str, ...]:
    """The motion that an alternative would say, as rich as the true one."""
    if (action, direction) == (account.action, account.direction):
        return account.motion
    if action == "touch":
        return account.motion if account.mover else ()
    reversing = {action, account.action} in ({"open", "close"}, {"pick up", "put down"}) or (
        action == account.action and direction == OPPOSITE.get(account.direction)
    )
    if reversing:
        return _reversed(account.motion)
    if direction not in MOTIONS or account.mover or account.action == "touch":
        return account.motion
    kept = [
        way
        for way in account.motion
        if way not in (direction, OPPOSITE[direction], account.direction)
    ]
    main = {"away": ("away",), "toward": ("toward",)}.get(direction, (direction,))
    return (*main, *kept[:1])


def distractors(
    account: Account, style: Style, kind: str, rng: np.random.Generator, count: int = 4
) -> tuple[str, ...]:
    """Captions that are false only in action, direction or hand.

    Args:
        account: of the true caption.
        style: of the true caption.
        kind: how the subject is held, or what kind of furniture it is.
        rng: chances.
        count: how many.
    """
    options = _alternatives(account, kind)
    options = [options[i] for i in rng.permutation(len(options))]

    def nearness(option: tuple[str, str, Acting]) -> int:
        action, direction, acting = option
        same_action = action == account.action
        if same_action and direction == account.direction:
            return 0  # the other hand
        if acting == account.hand:
            return 1 if same_action or _are_opposite(action, account.action) else 2
        return 3

    sorts: dict[int, list[tuple[str, str, Acting]]] = {}
    for option in options:
        sorts.setdefault(nearness(option), []).append(option)
    # The nearest sort first, and one of each sort in turn.
    turns = itertools.zip_longest(*(sorts[rank] for rank in sorted(sorts)))
    ranked = [option for turn in turns for option in turn if option is not None]
    texts: list[str] = []
    true_text = caption(account, style)
    for action, direction, acting in ranked:
        other = replace(
            account,
            action=action,
            direction=direction,
            hand=acting,
            motion=_motion_of(account, action, direction, rng),
        )
        text = caption(other, style)
        if text != true_text and text not in texts:
            texts.append(text)
        if len(texts) == count:
            break
    return tuple(texts[i] for i in rng.permutation(len(texts)))


def _are_opposite(first: str, second: str) -> bool:
    return {first, second} in ({"open", "close"}, {"pick up", "put down"}, {"push", "pull"})

"""Texts: a narration in Ego4D's manner, a caption enriched by space, and captions that are false.

What is said of space is read off the boxes, masks and depth that come with the clip, with margins,
so that every statement can be checked by the same data. Distractors keep a caption's words and
statements and change the action, the direction or the hand to others that would be as likely.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pretrain.clips.clip import Boxes
from pretrain.clips.synthetic.actions import Acting

REGION_MARGIN = 0.03
"""A region is only named where the box's middle is that far inside it, share of the image."""

BESIDE = 0.12
"""Least distance between the middles of boxes that are left or right of one another."""

NEARER = 0.06
"""Least difference in median depth between nearer and farther things, metres."""

SHIFT = 0.06
"""Least way of a box's middle through the image that counts as motion."""

APPROACH = 0.05
"""Least change in median depth that counts as motion, metres."""

_OPPOSITE = {
    "left": "right",
    "right": "left",
    "up": "down",
    "down": "up",
    "toward": "away",
    "away": "toward",
}

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

_MOTIONS = {
    "left": "to the left",
    "right": "to the right",
    "up": "up",
    "down": "down",
    "toward": "toward the camera",
    "away": "away from the camera",
}


@dataclass(frozen=True)
class Statement:
    """Something said of a clip, for machines.

    Attributes:
        kind: ``hand``, ``region``, ``left of``, ``right of``, ``nearer than``, ``farther than``,
            ``motion`` or ``other hand``.
        track: of what it is said.
        value: the region, the motion, or the track of what it is compared with.
        frame: the frame it is said of; motions are from the first frame to the last of ``span``.
        span: first and last frame of a motion, or twice the same.
    """

    kind: str
    track: int
    value: str | int
    span: tuple[int, int]

    def to_json(self) -> dict[str, Any]:
        """For :attr:`Clip.extra`."""
        return {
            "kind": self.kind,
            "track": self.track,
            "value": self.value,
            "span": list(self.span),
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


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]


def caption(account: Account, style: Style) -> str:
    """The caption of an account."""
    hands = "both hands" if account.hand == "both" else f"the {account.hand} hand"
    text = f"#C C {_noun_phrase(account, style)} with {hands}"
    if style.motion and account.motion:
        ways = _listed([_MOTIONS[way] for way in account.motion])
        mover = "the hand" if account.mover else "it"
        text += f", moving {mover} {ways}"
    placed = []
    if style.region and account.region:
        placed.append(f"at the {account.region} of the view")
    placed += [f"{relation} the {noun}" for relation, noun in account.relations[: style.relations]]
    if placed:
        text += f"; the {account.subject} is {_listed(placed)} at first"
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
            else _OPPOSITE.get(account.direction, "none")
        )
        if kind == "sliding door" and account.action == "touch":
            opens = "left"
        if kind == "drawer":
            opens = "toward"
        closes = _OPPOSITE.get(opens, "none")
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
    return tuple(_OPPOSITE[way] for way in motion)


def _motion_of(
    account: Account, action: str, direction: str, rng: np.random.Generator
) -> tuple[str, ...]:
    """The motion that an alternative would say, as rich as the true one."""
    if (action, direction) == (account.action, account.direction):
        return account.motion
    if action == "touch":
        return account.motion if account.mover else ()
    reversing = {action, account.action} in ({"open", "close"}, {"pick up", "put down"}) or (
        action == account.action and direction == _OPPOSITE.get(account.direction)
    )
    if reversing:
        return _reversed(account.motion)
    if direction not in _MOTIONS or account.mover or account.action == "touch":
        return account.motion
    kept = [
        way
        for way in account.motion
        if way not in (direction, _OPPOSITE[direction], account.direction)
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


# ----------------------------------------------------------------------------------- reading facts


@dataclass
class Sight:
    """What is seen of each track: boxes by (track, frame), and median depths."""

    boxes: dict[tuple[int, int], np.ndarray]
    depth: dict[tuple[int, int], float]

    @classmethod
    def of(cls, boxes: Boxes, masks: np.ndarray, depth: np.ndarray) -> "Sight":
        """Gathers what is needed from a clip's data."""
        own = {
            (int(track), int(frame)): xyxy
            for track, frame, xyxy in zip(boxes.track, boxes.frame, boxes.xyxy, strict=True)
        }
        medians = {
            (track, frame): float(np.median(depth[frame][masks[frame] == track + 1]))
            for track, frame in own
            if (masks[frame] == track + 1).any()
        }
        return cls(own, medians)

    def centre(self, track: int, frame: int) -> np.ndarray | None:
        """Middle of a box, or None where it is not seen."""
        box = self.boxes.get((track, frame))
        return None if box is None else (box[:2] + box[2:]) / 2


def region(centre: np.ndarray) -> str:
    """The part of the image in which a point lies, or empty near the border of two."""
    names = []
    for value, (low, high) in ((centre[1], ("upper", "lower")), (centre[0], ("left", "right"))):
        if abs(value - 0.36) < REGION_MARGIN or abs(value - 0.64) < REGION_MARGIN:
            return ""
        names.append(low if value < 0.36 else high if value > 0.64 else "")
    vertical, horizontal = names
    if not vertical and not horizontal:
        return "centre"
    if not horizontal:
        return {"upper": "top", "lower": "bottom"}[vertical]
    if not vertical:
        return horizontal
    return f"{vertical} {horizontal}"


def motion(sight: Sight, track: int, first: int, last: int) -> tuple[str, ...]:
    """Components of a track's motion between two frames, the largest first."""
    start, end = sight.centre(track, first), sight.centre(track, last)
    if start is None or end is None:
        return ()
    found: list[tuple[float, str]] = []
    dx, dy = end - start
    if abs(dx) > SHIFT:
        found.append((abs(dx) / SHIFT, "right" if dx > 0 else "left"))
    if abs(dy) > SHIFT:
        found.append((abs(dy) / SHIFT, "down" if dy > 0 else "up"))
    if (track, first) in sight.depth and (track, last) in sight.depth:
        dz = sight.depth[track, last] - sight.depth[track, first]
        if abs(dz) > APPROACH:
            found.append((abs(dz) / APPROACH, "away" if dz > 0 else "toward"))
    return tuple(way for _, way in sorted(found, reverse=True))


def relations(sight: Sight, track: int, others: Mapping[int, str]) -> list[tuple[str, int, str]]:
    """What can be said of a track against others in the first frame: relation, track, noun."""
    own = sight.boxes.get((track, 0))
    if own is None:
        return []
    found = []
    for other, noun in others.items():
        box = sight.boxes.get((other, 0))
        if box is None:
            continue
        dx = (own[0] + own[2] - box[0] - box[2]) / 2
        apart = own[2] <= box[0] + 0.02 or box[2] <= own[0] + 0.02
        if abs(dx) > BESIDE and apart:
            found.append(("to the left of" if dx < 0 else "to the right of", other, noun))
        if (track, 0) in sight.depth and (other, 0) in sight.depth:
            dz = sight.depth[track, 0] - sight.depth[other, 0]
            if abs(dz) > NEARER:
                found.append(("nearer than" if dz < 0 else "farther than", other, noun))
    return found

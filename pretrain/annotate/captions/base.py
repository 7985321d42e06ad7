"""Captions: what boxes, tracks, masks and depth tell of a clip, and the stage that writes it down.

EgoDTM (arXiv 2503.15470) has a language model write where things are and how hands move into
Ego4D's narrations, from detections and tracks. Here the facts are read first, with margins, each as
a :class:`~pretrain.clips.statements.Statement` that can be checked against the data again. A writer
then words them; the narration's own words always stay.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pretrain.annotate.captions.nouns import Hand, Parsed, head, parse
from pretrain.annotate.stage import AnnotationFailure, Stage
from pretrain.clips.annotated_clip import AnnotatedClip
from pretrain.clips.clip import HAND, LEFT, RIGHT, Boxes
from pretrain.clips.statements import (
    APPROACH,
    BESIDE,
    REGION_MARGIN,
    SHIFT,
    Sight,
    Statement,
    motion,
    region,
    relations,
)

GENERIC = frozenset(("object", "thing", "item"))
"""Categories of detectors that do not say what a thing is."""

_SIDES: dict[int, Hand] = {LEFT: "left", RIGHT: "right"}
_TOUCHING = 0.05
_MOST_WAYS = 2
# They change a thing or a part of furniture in its place: it is the hand that moves.
_IN_PLACE = frozenset(
    (
        *("open", "close", "shut", "turn", "turn on", "turn off", "switch on", "switch off"),
        *("press", "flip", "rotate", "lock", "unlock", "wash", "wipe", "clean", "cut", "stir"),
        *("twist", "adjust", "touch", "hold"),
    )
)


@dataclass(frozen=True)
class Place:
    """Where something is, in words and for machines: "at the center of the view"."""

    words: str
    statement: Statement

    @property
    def when(self) -> str:
        """When it is there, in words."""
        return "at first" if self.statement.span[0] == 0 else "at the end"


@dataclass(frozen=True)
class Facts:
    """What is known of a clip, read for its caption.

    Attributes:
        parsed: the narration.
        hand: which acts: as the narration says, or else as contact shows; "" if neither tells.
        hand_seen: statements of the acting hands, empty where the narration names the hand.
        subject: the noun of what is acted on, "" where it was not found.
        mover: what the motion is of: "it", "the hand" or "the left hand".
        motion: statements, the largest component first.
        places: of the subject, those at first before those at the end, of each the surest first.
        hands: hand side and place of hands.
        detected: names of all that was detected.
    """

    parsed: Parsed
    hand: Hand
    hand_seen: tuple[Statement, ...]
    subject: str
    mover: str
    motion: tuple[Statement, ...]
    places: tuple[Place, ...]
    hands: tuple[tuple[str, Place], ...]
    detected: tuple[str, ...]


class CaptionAnnotator(ABC):
    """The captions stage around one writer.

    Args:
        caution: factor on all margins with which facts are read, 1 or more: boxes of a detector are
            less exact than those of a simulator.

    Attributes:
        stage: ``captions``.
        name: of the writer.
        fingerprint: of weights, prompt, options and code version.
        batch_size: clips at once.
    """

    stage: Stage = "captions"
    name: str
    fingerprint: str
    batch_size: int

    def __init__(self, caution: float) -> None:
        self._caution = caution

    @abstractmethod
    def write(
        self, clips: Sequence[AnnotatedClip], facts: Sequence[Facts]
    ) -> list[Mapping[str, Any]]:
        """``caption``, ``distractors`` and ``caption_report`` of each clip."""

    def annotate(
        self, clips: Sequence[AnnotatedClip]
    ) -> list[Mapping[str, Any] | AnnotationFailure]:
        """``caption``, ``distractors`` and ``caption_report`` of each clip."""
        results: list[Mapping[str, Any] | AnnotationFailure] = []
        known = [index for index, clip in enumerate(clips) if clip.boxes is not None]
        facts = [read_facts(clips[index], self._caution) for index in known]
        written = dict(zip(known, self.write([clips[i] for i in known], facts), strict=True))
        for index in range(len(clips)):
            results.append(
                written.get(index)
                or AnnotationFailure(
                    "Expected the boxes of the stage tracking, got none; run that stage first."
                )
            )
        return results


def read_facts(clip: AnnotatedClip, caution: float = 1.0) -> Facts:
    """Read what can be said of a clip.

    Args:
        clip: with boxes; masks and depth are used where they are known.
        caution: factor on all margins.
    """
    assert clip.boxes is not None
    boxes, parsed = clip.boxes, parse(clip.narration)
    sight = Sight.of(boxes, clip.masks, clip.depth, clip.depth_kind)
    scene = _Scene(boxes, sight, len(clip.frames), caution)
    wearer = parsed.actor == "wearer"
    subject = scene.subject(parsed)
    acting = scene.acting(subject) if wearer else ()
    hand_seen: tuple[Statement, ...] = ()
    hand: Hand = parsed.hand
    if not hand and acting:
        hand = "both" if len(acting) == 2 else _SIDES[scene.side[acting[0]]]
        last = len(clip.frames) - 1
        hand_seen = tuple(
            Statement("hand", track, _SIDES[scene.side[track]], (0, last)) for track in acting
        )
    elif wearer and hand in ("left", "right"):
        acting = tuple(track for track in scene.hands if _SIDES.get(scene.side[track]) == hand)
    mover, ways = scene.motion(subject, acting, parsed)
    return Facts(
        parsed=parsed,
        hand=hand,
        hand_seen=hand_seen,
        subject="" if subject is None else scene.noun(subject, parsed),
        mover=mover,
        motion=ways,
        places=scene.places(subject),
        hands=scene.hand_places() if wearer else (),
        detected=tuple(sorted(set(boxes.category))),
    )


class _Scene:
    """Tracks of a clip and what can be said of them."""

    def __init__(self, boxes: Boxes, sight: Sight, frames: int, caution: float) -> None:
        self.sight = sight
        self.frames = frames
        self.caution = caution
        self.category: dict[int, str] = {}
        self.side: dict[int, int] = {}
        self.touching: dict[int, set[int]] = {}
        for row in range(len(boxes)):
            track = int(boxes.track[row])
            self.category.setdefault(track, boxes.category[row])
            self.side[track] = int(boxes.side[row]) or self.side.get(track, 0)
            touched = self.touching.setdefault(track, set())
            if boxes.contact[row]:
                touched.add(int(boxes.frame[row]))
        # What is seen in one frame of many may be a detector's mistake.
        least = 2 if frames > 2 else 1
        seen = [track for track in self.category if len(sight.frames(track)) >= least]
        self.hands = [t for t in seen if self.category[t] == HAND and self.side[t]]
        self.objects = [t for t in seen if self.category[t] != HAND]

    def gap(self, first: int, second: int, frame: int) -> float:
        """Distance of two boxes' edges in a frame, share of the image; 0 or less if they meet."""
        a, b = self.sight.boxes.get((first, frame)), self.sight.boxes.get((second, frame))
        if a is None or b is None:
            return float("inf")
        return float(max(a[0] - b[2], b[0] - a[2], a[1] - b[3], b[1] - a[3]))

    def together(self, hand: int, thing: int) -> int:
        """Frames in which a hand touches something and a thing is touched, side by side."""
        return sum(
            frame in self.touching[thing] and self.gap(hand, thing, frame) < _TOUCHING
            for frame in self.touching[hand]
        )

    def subject(self, parsed: Parsed) -> int | None:
        """The track of what the narration says is acted on."""
        for noun in parsed.nouns:
            tracks = [t for t in self.objects if _may_be(self.category[t], noun)]
            if len(tracks) == 1:
                return tracks[0]
            chosen = self._most_touched(tracks)
            if tracks:
                return chosen
        return self._most_touched([t for t in self.objects if self.category[t] in GENERIC])

    def _most_touched(self, tracks: Sequence[int]) -> int | None:
        scores = {t: sum(self.together(hand, t) for hand in self.hands) for t in tracks}
        best = sorted(scores.values(), reverse=True)[:2]
        if not best or best[0] == 0 or (len(best) == 2 and best[0] == best[1]):
            return None
        return max(scores, key=lambda track: scores[track])

    def noun(self, track: int, parsed: Parsed) -> str:
        """What the narration calls a thing."""
        name = self.category[track]
        if name in GENERIC:
            return parsed.nouns[0] if parsed.nouns else name
        return next((noun for noun in parsed.nouns if _may_be(name, noun)), name)

    def acting(self, subject: int | None) -> tuple[int, ...]:
        """Tracks of the hands that act, the left first; empty if that is not clear."""
        scores = {}
        for hand in self.hands:
            frames = len(self.touching[hand])
            scores[hand] = frames if subject is None else self.together(hand, subject)
        sides = [self.side[hand] for hand, score in scores.items() if score]
        if not sides or len(set(sides)) < len(sides):
            return ()
        best = max(scores.values())
        chosen = [hand for hand, score in scores.items() if score == best]
        if best < 2:
            return ()
        if len(scores) > len(chosen) and best - max(s for s in scores.values() if s < best) < 2:
            return ()
        return tuple(sorted(chosen, key=lambda hand: self.side[hand]))

    def motion(
        self, subject: int | None, acting: Sequence[int], parsed: Parsed
    ) -> tuple[str, tuple[Statement, ...]]:
        """What moves, in words, and which way."""
        in_place = parsed.verb in _IN_PLACE
        mover, words = subject, "it"
        if mover is None or in_place:
            if len(acting) != 1:
                return "", ()
            mover, words = acting[0], "the hand"
        frames = self.sight.frames(mover)
        touched = sorted(self.touching[mover])
        if mover in self.hands and len(touched) >= 2:
            frames = touched
        if len(frames) < 2:
            return "", ()
        first, last = frames[0], frames[-1]
        ways = motion(self.sight, mover, first, last, SHIFT * self.caution, APPROACH * self.caution)
        return words, tuple(
            Statement("motion", mover, way, (first, last)) for way in ways[:_MOST_WAYS]
        )

    def places(self, subject: int | None) -> tuple[Place, ...]:
        """Where the subject is, first and last; what is so in both frames is told once."""
        found: dict[str, Place] = {}
        if subject is None:
            return ()
        for frame in self._ends():
            if frame in self.sight.frames(subject):
                for place in self._region(subject, frame) + self._relations(subject, frame):
                    found.setdefault(place.words, place)
        return tuple(found.values())

    def _ends(self) -> tuple[int, ...]:
        """The first and the last frame, which may be one."""
        return tuple(dict.fromkeys((0, self.frames - 1)))

    def _relations(self, track: int, frame: int) -> list[Place]:
        """Where a track is beside things that have a name of their own, the surest first."""
        # Those that were seen but once count as well: one door of many is not "the door".
        names = list(self.category.values())
        others = {
            thing: self.category[thing]
            for thing in self.objects
            if thing != track
            and 4 * len(self.sight.frames(thing)) >= 3 * self.frames
            and names.count(self.category[thing]) == 1
            and self.category[thing] not in GENERIC
            and not _may_be(self.category[thing], self.category[track])
        }
        said = relations(
            self.sight, track, others, frame, BESIDE * self.caution, 1.5 * self.caution
        )
        kept = [entry for entry in said if self._is_clear(track, entry[0], entry[1], frame)]
        kept.sort(key=lambda entry: -self._sureness(track, entry[0], entry[1], frame))
        found: list[Place] = []
        used: set[int] = set()
        for relation, other, noun in kept:
            if other in used:
                continue
            used.add(other)
            statement = Statement(relation, track, other, (frame, frame))
            found.append(Place(f"{relation} the {noun}", statement))
        return found

    def _region(self, track: int, frame: int) -> list[Place]:
        center = self.sight.center(track, frame)
        where = "" if center is None else region(center, REGION_MARGIN * self.caution)
        if not where:
            return []
        return [
            Place(f"at the {where} of the view", Statement("region", track, where, (frame, frame)))
        ]

    def _is_clear(self, track: int, relation: str, other: int, frame: int) -> bool:
        """Whether the middle halves of the depths of two things do not overlap."""
        if relation not in ("nearer than", "farther than"):
            return True
        near, far = (track, other) if relation == "nearer than" else (other, track)
        return self.sight.spread[near, frame][1] < self.sight.spread[far, frame][0]

    def _sureness(self, track: int, relation: str, other: int, frame: int) -> float:
        """How far beyond its margin a relation is."""
        if relation in ("nearer than", "farther than"):
            step = abs(self.sight.depth[track, frame] - self.sight.depth[other, frame])
            return step / (1.5 * self.sight.least_step[frame] + 1e-9)
        own, box = self.sight.boxes[track, frame], self.sight.boxes[other, frame]
        return float(abs(own[0] + own[2] - box[0] - box[2]) / 2 / BESIDE)

    def hand_places(self) -> tuple[tuple[str, Place], ...]:
        """Where the hands are in the first and in the last frame.

        Their regions come first, then on which side of one thing each is: what can still be told
        where it is not clear which of several things is acted on.
        """
        sides = [self.side[track] for track in self.hands]
        regions: dict[tuple[str, str], Place] = {}
        besides: dict[tuple[str, str], Place] = {}
        hands = [track for track in self.hands if sides.count(self.side[track]) == 1]
        hands.sort(key=lambda hand: self.side[hand])
        for frame in self._ends():
            for track in (hand for hand in hands if frame in self.sight.frames(hand)):
                side = _SIDES[self.side[track]]
                for place in self._region(track, frame):
                    regions.setdefault((side, place.words), place)
                beside = [
                    place
                    for place in self._relations(track, frame)
                    if place.statement.kind in ("to the left of", "to the right of")
                ]
                for place in beside[:1]:
                    besides.setdefault((side, place.words), place)
        return tuple((side, place) for (side, _), place in (regions | besides).items())


def _may_be(category: str, noun: str) -> bool:
    """Whether a detected category is what a noun names: all words of one are in the other."""
    a, b = category.lower().split(), noun.lower().split()
    return head(category) == head(noun) and (
        set(a[:-1]) <= set(b[:-1]) or set(b[:-1]) <= set(a[:-1])
    )

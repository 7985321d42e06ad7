"""Makes one clip of a seed: room, action, head, drawing, boxes, texts."""

import dataclasses
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from egodtm_robot.core.errors import ConfigurationError, UnknownNameError
from egodtm_robot.core.training.identity import ADDED_LATER
from pretrain.clips.clip import HAND, LEFT, NO_SIDE, RIGHT, Boxes, Clip
from pretrain.clips.dense import DenseKind, Label
from pretrain.clips.statements import Sight, Statement, motion, region, relations
from pretrain.clips.synthetic import hand
from pretrain.clips.synthetic.actions import ACTIONS, HandPath, Performance
from pretrain.clips.synthetic.body import Head, arms, holding_hand, resting_hand, watch
from pretrain.clips.synthetic.captions import (
    Account,
    caption,
    distractors,
    draw_style,
    narration,
)
from pretrain.clips.synthetic.hand import SIDES, Side
from pretrain.clips.synthetic.looks import another_look
from pretrain.clips.synthetic.poses import pose, quaternions, transform
from pretrain.clips.synthetic.room import FIRST_TRACK, Domain, Room, RoomMaker
from pretrain.clips.synthetic.stage import Drawing, Part, Picture, Stage, Thing
from pretrain.clips.synthetic.textures import make_bank
from pretrain.clips.synthetic.views import (
    ViewKind,
    ViewsConfig,
    come_from_afar,
    look_on,
    person,
    wear,
)

VERSION = 5
"""Of what a seed draws; clips of different versions do not belong in one store."""

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")

LICENCE = "Apache-2.0 and MIT"
"""Drawn with meshes of household objects (Apache-2.0) and of a hand (MIT); otherwise our own."""

SOURCE = "synthetic"

_ATTEMPTS = 120
_LABELS: dict[str, Label] = {"knob": "knob", "switch": "button", "button": "button"}
"""Of parts of furniture that move; the others are fronts."""

_SMALL = ("knob", "switch", "button")

# A stream of random numbers that never meets that of a scene, whose attempts are fewer: the same
# seed has the same room and action in every view.
_VIEW = 1_000
_LOOK = 2_000


@dataclass
class SyntheticClipConfig:
    """What clips to draw."""

    frames: int = 4
    """Frames a clip; they lie at the middles of as many equal parts of an action of 2 to 3 s."""

    resolution: int = 128
    """Side of a frame, pixels."""

    map_resolution: int | None = None
    """Side of depth maps and masks, pixels; null for a quarter of the frames'."""

    domain: Literal["kitchen", "other", "mixed"] = "kitchen"
    """``kitchen``, ``other`` (desks and workshops: other objects, no oven), or ``mixed``."""

    shoulder_share: float = 0.35
    """Share of clips seen from behind and above the wearer instead of from the head."""

    views: ViewsConfig = field(default_factory=ViewsConfig, metadata=ADDED_LATER)
    """Weights of the views: ``head``, ``wrist`` (worn on an acting forearm) and ``third`` (from
    beside the person)."""

    dense: list[DenseKind] = field(default_factory=list, metadata=ADDED_LATER)
    """Further truth that is stored with the clips, any of ``segmentation`` (by class, handles and
    knobs among them), ``normals``, ``points`` (the same surface point in two frames) and ``looks``
    (the frames under other lights and colors)."""

    actions: list[str] | None = None
    """Only these actions; null for all."""

    def __post_init__(self) -> None:
        for action in self.actions or ():
            if action not in ACTIONS:
                raise UnknownNameError("action", action, tuple(ACTIONS))
        if len(set(self.dense)) < len(self.dense):
            raise ConfigurationError(f"Expected each kind of dense once, got {self.dense}.")
        if "points" in self.dense and self.frames < 2:
            raise ConfigurationError(
                f"Expected at least 2 frames for dense=[points], got frames={self.frames}."
            )
        if self.frames < 1 or self.resolution < 8 or self.maps < 4:
            raise ConfigurationError(
                "Expected at least 1 frame of 8 pixels and maps of 4, got "
                f"frames={self.frames}, resolution={self.resolution}, map_resolution={self.maps}."
            )

    @property
    def maps(self) -> int:
        """Side of depth maps and masks, pixels."""
        return self.resolution // 4 if self.map_resolution is None else self.map_resolution


class SyntheticClips:
    """Draws the clips of one split.

    Args:
        config: what clips.
        split: ``train``, ``validation`` or ``test``; no two share a scene, nor a surface.

    Attributes:
        bank: the surfaces of the split.
        stage: what draws.
    """

    def __init__(self, config: SyntheticClipConfig, split: Split) -> None:
        if split not in SPLITS:
            raise UnknownNameError("split", split, SPLITS)
        self.config = config
        self.split = split
        self._stream = (VERSION, SPLITS.index(split))
        self.bank = make_bank(np.random.default_rng(self._stream))
        self.stage = Stage(self.bank, config.resolution, config.maps, config.dense)
        self._maker = RoomMaker(self.bank)

    def close(self) -> None:
        """Frees the graphics memory."""
        self.stage.close()

    def render(self, seed: int) -> Clip:
        """The clip of a seed; the same in every process."""
        names = list(self.config.actions or ACTIONS)
        order = np.random.default_rng([*self._stream, seed]).permutation(names)
        view = self.config.views.choose(np.random.default_rng([*self._stream, seed, _VIEW]))
        for attempt in range(_ATTEMPTS):
            rng = np.random.default_rng([*self._stream, seed, attempt])
            # The same action in several rooms before another, so that all are about as frequent.
            action = str(order[attempt // 10 % len(order)])
            eye = np.random.default_rng([*self._stream, seed, _VIEW, attempt])
            clip = self._try(rng, eye, seed, action, view)
            if clip is not None:
                return clip
        raise RuntimeError(f"Found no clip for seed {seed} of split {self.split}.")

    def _try(
        self,
        rng: np.random.Generator,
        eye: np.random.Generator,
        seed: int,
        action: str,
        view: ViewKind,
    ) -> Clip | None:
        config = self.config
        domain: Domain = "kitchen"
        if config.domain == "other" or (config.domain == "mixed" and rng.random() < 0.5):
            domain = "other"
        room = self._maker.make(rng, domain, action)
        times = np.arange(config.frames) + 0.5 + rng.uniform(-0.12, 0.12, config.frames)
        times /= config.frames
        performance = ACTIONS[action](rng, room, times)
        if performance is None:
            return None
        if view == "wrist":
            performance = come_from_afar(eye, performance)
        paths, idle = self._hands(rng, room, performance)
        points = _points_to_see(room, performance)
        if view == "wrist":
            head = wear(eye, performance)
        elif view == "third":
            head = look_on(eye, performance, points)
        else:
            close = performance.mover is not None and room.movers[performance.mover].kind in _SMALL
            head = watch(rng, performance, points, config.shoulder_share, close)
        if head is None:
            return None
        picture = self._picture(room, performance, paths, head)
        if view == "third":
            picture.things += person(eye, room, performance.stand, config.frames)
        drawing = self.stage.draw(picture)
        boxes = _boxes(room, performance, paths, drawing)
        if not _is_seen(performance, room, drawing):
            return None
        if "looks" in config.dense:
            look = np.random.default_rng([*self._stream, seed, _LOOK])
            drawing.dense["looks"] = self.stage.draw_frames(another_look(look, picture, self.bank))
        return self._clip(rng, seed, room, performance, head, drawing, boxes, idle, paths)

    def _hands(
        self, rng: np.random.Generator, room: Room, performance: Performance
    ) -> tuple[dict[Side, HandPath], str]:
        """Acting hands, and perhaps an idle one; what that does."""
        paths = dict(performance.hands)
        idle = ""
        for side in SIDES:
            if side in paths:
                continue
            stand, chance = performance.stand, rng.random()
            if stand[1] < -0.45 or chance > 0.65:
                continue
            if chance < 0.17:
                item = self._maker.held(rng, room)
                path, poses = holding_hand(rng, side, stand, item.kind.extent, self.config.frames)
                performance.item_poses[len(room.items)] = poses
                room.items.append(item)
                paths[side], idle = path, f"holds the {item.noun}"
            else:
                paths[side] = resting_hand(rng, side, performance.stand, self.config.frames)
                idle = "rests on the counter"
        return paths, idle

    def _picture(
        self, room: Room, performance: Performance, paths: dict[Side, HandPath], head: Head
    ) -> Picture:
        count = self.config.frames
        still = np.broadcast_to(np.eye(4), (count, 4, 4))
        things = [Thing(room.parts, still)]
        for index, mover in enumerate(room.movers):
            values = performance.mover_values.get(index, np.full(count, room.values[index]))
            label = _LABELS.get(mover.kind, "front")
            things.append(Thing(mover.parts, mover.poses(values), mover.track, label=label))
        for index, item in enumerate(room.items):
            poses = performance.item_poses.get(index, np.broadcast_to(item.pose, (count, 4, 4)))
            things.append(Thing([item.part], poses, item.track, label="object"))
            if room.blobs:
                extent = item.kind.extent
                things.append(_blob(poses, extent, room))
        bones = {}
        for side, path in paths.items():
            things += arms(room, side, path, performance.stand)
            bones[side] = hand.bones(side, path.wrist, path.closure, path.spread, path.opposition)
            if room.blobs:
                knuckles = pose(None, bones[side][:, 11, :3, 3])
                things.append(_blob(knuckles, np.array([0.1, 0.13, 0.02]), room))
        things += performance.extras
        return Picture(
            things=things,
            hands=bones,
            camera=head.poses,
            field_of_view=head.field_of_view,
            lights=room.lights,
            ambient=room.ambient,
            headlight=room.headlight,
            skin=room.skin,
        )

    def _clip(
        self,
        rng: np.random.Generator,
        seed: int,
        room: Room,
        performance: Performance,
        head: Head,
        drawing: Drawing,
        boxes: Boxes,
        idle: str,
        paths: dict[Side, HandPath],
    ) -> Clip:
        sight = Sight.of(boxes, drawing.masks, drawing.depth)
        subject_track, subject, kind = _subject(room, performance)
        last = self.config.frames - 1
        mover = performance.mover is not None
        acting_tracks = [SIDES.index(side) for side in performance.hands]
        moving = acting_tracks[0] if mover else subject_track
        first = min(1, last) if mover else 0
        ways = motion(sight, moving, first, last)[:2]
        if (performance.action == "touch" and not mover) or head.worn is not None:
            ways = ()  # what a worn camera comes to does not move
        others = {item.track: item.noun for item in room.items if item.track != subject_track}
        others.update(_landmarks(room, subject))
        said = relations(sight, subject_track, others)
        order = rng.permutation(len(said))
        kept: list[tuple[str, int, str]] = []
        for index in order:
            entry = said[int(index)]
            if entry[1] not in [other for _, other, _ in kept]:
                kept.append(entry)
        center = sight.center(subject_track, 0)
        where = "" if center is None else region(center)
        idle_side = next((side for side in SIDES if side not in performance.hands), None)
        if idle_side is not None and idle:
            seen = any((SIDES.index(idle_side), frame) in sight.boxes for frame in range(last + 1))
            idle = idle if seen else ""
        account = Account(
            action=performance.action,
            direction=performance.direction,
            hand=performance.hand,
            subject=subject,
            other="" if performance.other is None else room.items[performance.other].noun,
            mover=mover,
            motion=ways,
            region=where,
            relations=tuple((relation, noun) for relation, _, noun in kept),
            idle=idle,
        )
        style = draw_style(rng)
        statements = [Statement("hand", track, SIDES[track], (0, last)) for track in acting_tracks]
        if style.motion:
            statements += [Statement("motion", moving, way, (first, last)) for way in ways]
        if style.region and where:
            statements.append(Statement("region", subject_track, where, (0, 0)))
        statements += [
            Statement(relation, subject_track, other, (0, 0))
            for relation, other, _ in kept[: style.relations]
        ]
        scene = f"{SOURCE}-{self.split}-{seed}"
        return Clip(
            frames=drawing.frames,
            depth=drawing.depth,
            depth_kind="metric",
            masks=drawing.masks,
            boxes=boxes,
            camera_pose=_camera_pose(head.poses),
            narration=narration(account, style, bool(rng.random() < 0.3)),
            caption=caption(account, style),
            distractors=distractors(account, style, kind, rng),
            key=scene,
            scene=scene,
            source=SOURCE,
            licence=LICENCE,
            extra={
                "action": performance.action,
                "direction": performance.direction,
                "hand": performance.hand,
                "subject": subject,
                "subject_track": subject_track,
                "other": account.other,
                "objects": {str(item.track): item.noun for item in room.items},
                "furniture": {str(mover.track): mover.noun for mover in room.movers},
                "domain": room.domain,
                "view": head.view,
                "field_of_view": head.field_of_view,
                "statements": [statement.to_json() for statement in statements],
                "seed": seed,
                "version": VERSION,
                **_worn(head, drawing),
            },
            **drawing.dense,
        )


def _landmarks(room: Room, subject: str) -> dict[int, str]:
    """Doors, drawers and lids by track, of those that are alone with their name."""
    names = [mover.noun for mover in room.movers]
    return {
        mover.track: mover.noun
        for mover in room.movers
        if mover.track is not None
        and mover.kind not in _SMALL
        and names.count(mover.noun) == 1
        and mover.noun != subject
    }


def _blob(poses: np.ndarray, extent: np.ndarray, room: Room) -> Thing:
    """A soft dark spot on the counter below something; it fades as that rises."""
    position = poses[:, :3, 3]
    bottom = position[:, 2] - extent[2] / 2
    over = (position[:, 1] > -0.02) & (position[:, 1] < room.depth - 0.02) & (bottom > -0.03)
    opacity = np.exp(-np.maximum(bottom, 0.0) / 0.15) * over
    flat = poses.copy()
    yaw = np.arctan2(poses[:, 1, 0], poses[:, 0, 0])
    cosine, sine = np.cos(yaw), np.sin(yaw)
    flat[:, :3, :3] = 0.0
    flat[:, 0, 0], flat[:, 0, 1], flat[:, 1, 0], flat[:, 1, 1] = cosine, -sine, sine, cosine
    flat[:, 2, 2] = 1.0
    flat[:, :3, 3] = np.column_stack(
        [position[:, :2] + [0.006, 0.004], np.full(len(poses), 0.0026)]
    )
    discs = [
        Part(
            "ellipsoid",
            (0.5 * float(extent[0]) * wide + 0.006, 0.5 * float(extent[1]) * wide + 0.006, 0.0006),
            np.eye(4),
            -1,
            (0.0, 0.0, 0.0, room.blobs),
        )
        for wide in (0.95, 1.18)
    ]
    return Thing(discs, flat, None, opacity, is_shadow=True)


def _points_to_see(room: Room, performance: Performance) -> np.ndarray:
    """Points (T, n, 3) that must be in the picture: acting hands and what they act on."""
    points = []
    for path in performance.hands.values():
        points.append(transform(path.wrist, np.array([0.0, 0.0, -0.02])))
        points.append(transform(path.wrist, np.array([0.0, -0.01, -0.13])))
    if performance.item is not None:
        poses = performance.item_poses[performance.item]
        half = room.items[performance.item].kind.extent / 2 * 0.8
        for corner in ((-1, 0, 0), (1, 0, 0), (0, 0, -1), (0, 0, 1)):
            points.append(transform(poses, half * np.array(corner)))
    if performance.mover is not None:
        mover = room.movers[performance.mover]
        poses = mover.poses(performance.mover_values[performance.mover])
        points.append((poses @ mover.handle)[:, :3, 3])
        points.append(np.broadcast_to(mover.base[:3, 3], points[-1].shape))
    if performance.other is not None:
        position = room.items[performance.other].position
        points.append(np.broadcast_to(position, points[-1].shape))
    return np.stack(points, axis=1)


def _subject(room: Room, performance: Performance) -> tuple[int, str, str]:
    """Track, noun and kind of what is acted on."""
    if performance.item is not None:
        item = room.items[performance.item]
        return item.track, item.noun, item.kind.hold
    assert performance.mover is not None
    mover = room.movers[performance.mover]
    assert mover.track is not None
    return mover.track, mover.noun, mover.kind


def _boxes(
    room: Room, performance: Performance, paths: dict[Side, HandPath], drawing: Drawing
) -> Boxes:
    """Boxes around what masks show, hands first."""
    names = {item.track: item.noun for item in room.items}
    names.update({mover.track: mover.noun for mover in room.movers if mover.track is not None})
    subject = _subject(room, performance)[0]
    idle = [path for side, path in paths.items() if side not in performance.hands]
    # What an idle hand holds was brought last.
    held = room.items[-1].track if any(path.contact.any() for path in idle) else None
    count, height, width = drawing.masks.shape
    rows = []
    for frame in range(count):
        mask = drawing.masks[frame]
        for value in np.unique(mask[mask > 0]):
            track = int(value) - 1
            ys, xs = np.nonzero(mask == value)
            xyxy = (
                xs.min() / width,
                ys.min() / height,
                (xs.max() + 1) / width,
                (ys.max() + 1) / height,
            )
            if track < FIRST_TRACK:
                side = SIDES[track]
                touching = bool(paths[side].contact[frame])
                rows.append((frame, track, HAND, LEFT if side == "left" else RIGHT, touching, xyxy))
            else:
                holding = idle if track == held else performance.hands.values()
                touching = track in (subject, held) and any(path.contact[frame] for path in holding)
                rows.append((frame, track, names[track], NO_SIDE, touching, xyxy))
    if not rows:
        return Boxes.empty()
    frame_column, track_column, category, side_column, contact, xyxy_column = zip(
        *rows, strict=True
    )
    return Boxes(
        frame=np.array(frame_column, np.int16),
        track=np.array(track_column, np.int16),
        category=list(category),
        side=np.array(side_column, np.int8),
        contact=np.array(contact, bool),
        xyxy=np.array(xyxy_column, np.float32),
    )


def _is_seen(performance: Performance, room: Room, drawing: Drawing) -> bool:
    """Whether hands and subject can be made out where it matters."""
    masks = drawing.masks
    least = max(1, masks.shape[1] * masks.shape[2] // 340)
    subject = _subject(room, performance)[0]
    seen = (masks == subject + 1).sum(axis=(1, 2))
    small = performance.mover is not None and room.movers[performance.mover].kind in _SMALL
    need = 1 if small else least
    if seen[0] < need or seen.max() < need or (not small and seen[-1] < need):
        return False
    for side in performance.hands:
        area = (masks == SIDES.index(side) + 1).sum(axis=(1, 2))
        if (area < least).any():
            return False
    return True


def _worn(head: Head, drawing: Drawing) -> dict[str, str | float]:
    """The arm that the camera is worn on, and the share of the picture that its hand takes."""
    if head.worn is None:
        return {}
    share = (drawing.masks == SIDES.index(head.worn) + 1).mean()
    return {"worn": head.worn, "worn_share": round(float(share), 4)}


def _camera_pose(poses: np.ndarray) -> np.ndarray:
    """Position and quaternion w x y z, float32 (T, 7)."""
    return np.concatenate([poses[:, :3, 3], quaternions(poses[:, :3, :3])], axis=1).astype(
        np.float32
    )


# The stage that this process drew with last, and what it draws.
_current: list[tuple[SyntheticClipConfig, Split, SyntheticClips]] = []


def render_clip(config: SyntheticClipConfig, split: Split, seed: int) -> Clip:
    """The clip of a seed: a pure function of configuration, split and seed.

    The first call of a process compiles the stage; later ones with the same configuration use it.
    """
    if not _current or _current[0][:2] != (config, split):
        for _, _, source in _current:
            source.close()
        _current[:] = [(dataclasses.replace(config), split, SyntheticClips(config, split))]
    return _current[0][2].render(seed)

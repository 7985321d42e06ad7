import numpy as np
import pytest

from pretrain.clips.synthetic import hand
from pretrain.clips.synthetic.actions import ACTIONS
from pretrain.clips.synthetic.hand import SIDES
from pretrain.clips.synthetic.meshes import all_meshes
from pretrain.clips.synthetic.objects import OBJECT_KINDS
from pretrain.clips.synthetic.poses import about, inverse, pose, quaternions
from pretrain.clips.synthetic.room import RoomMaker
from pretrain.clips.synthetic.stage import POOL
from pretrain.clips.synthetic.textures import make_bank

TIMES = (np.arange(4) + 0.5) / 4


@pytest.fixture(scope="module")
def maker():
    return RoomMaker(make_bank(np.random.default_rng(0)))


def performances(maker, action, rooms=8, domain="kitchen"):
    """What comes of trying an action in several rooms, with the rooms."""
    found = []
    for seed in range(rooms):
        rng = np.random.default_rng([7, seed])
        room = maker.make(rng, domain, action)
        performance = ACTIONS[action](rng, room, TIMES)
        if performance is not None:
            found.append((room, performance))
    return found


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("domain", ["kitchen", "other"])
def test_every_action_finds_something_to_do(maker, action, domain):
    found = performances(maker, action, domain=domain)
    assert len(found) >= 3
    for _, performance in found:
        assert performance.action == action
        assert (performance.item is None) != (performance.mover is None)
        acting = set(SIDES) if performance.hand == "both" else {performance.hand}
        assert set(performance.hands) == acting
        for path in performance.hands.values():
            assert path.contact.any()
            assert np.isfinite(path.wrist).all()


def test_every_object_occurs_and_rooms_fit_the_stage(maker):
    assert len(OBJECT_KINDS) >= 30
    seen = set()
    for seed in range(60):
        for domain in ("kitchen", "other"):
            room = maker.make(np.random.default_rng([1, seed]), domain, "move")
            seen |= {item.kind.name for item in room.items}
            parts = len(room.parts) + sum(len(mover.parts) for mover in room.movers)
            # Objects, their shadows, arms and sleeves come on top.
            assert parts + 3 * len(room.items) + 14 <= POOL
            tracks = [item.track for item in room.items] + [mover.track for mover in room.movers]
            assert len(set(tracks)) == len(tracks)
    assert seen == set(OBJECT_KINDS)


def test_objects_are_as_large_as_in_life():
    for kind in OBJECT_KINDS.values():
        assert 0.07 < max(kind.extent) < 0.36, kind.name
        assert kind.extent[2] < 0.25, kind.name
        assert kind.mesh in all_meshes()


@pytest.mark.parametrize("action", ["pick up", "put down", "move", "pour"])
def test_what_is_held_goes_with_the_hand(maker, action):
    for _, performance in performances(maker, action):
        poses = performance.item_poses[performance.item]
        for path in performance.hands.values():
            held = np.flatnonzero(path.contact)
            apart = (inverse(path.wrist) @ poses)[held, :3, 3]
            np.testing.assert_allclose(apart, np.broadcast_to(apart[:1], apart.shape), atol=1e-6)


def test_picking_up_ends_above_the_counter_and_putting_down_on_it(maker):
    for action, low, high in (("pick up", 0, -1), ("put down", -1, 0)):
        for room, performance in performances(maker, action):
            item = room.items[performance.item]
            height = performance.item_poses[performance.item][:, 2, 3] - item.kind.extent[2] / 2
            assert height[low] == pytest.approx(0, abs=5e-3)
            assert height[high] > 0.1


def test_objects_that_slide_stay_on_the_counter(maker):
    for action in ("push", "pull"):
        for room, performance in performances(maker, action):
            item = room.items[performance.item]
            path = performance.item_poses[performance.item][:, :3, 3]
            np.testing.assert_allclose(path[:, 2], item.kind.extent[2] / 2)
            assert (path[:, 1] < room.depth).all()
            assert (path[:, 1] > 0).all()


def test_directions_are_those_of_the_motion(maker):
    axis = {"left": (0, -1), "right": (0, 1), "away": (1, 1), "toward": (1, -1)}
    seen = set()
    for action in ("move", "push", "pull"):
        for _, performance in performances(maker, action):
            path = performance.item_poses[performance.item][:, :3, 3]
            column, way = axis[performance.direction]
            assert (path[-1] - path[0])[column] * way > 0.1
            seen.add(performance.direction)
    assert seen == set(axis)


def test_doors_and_drawers_go_between_shut_and_open(maker):
    kinds = set()
    for action, shut, wide in (("open", 0, -1), ("close", -1, 0)):
        for room, performance in performances(maker, action, rooms=25):
            mover = room.movers[performance.mover]
            values = performance.mover_values[performance.mover] / mover.limit
            assert values[shut] < 0.12
            assert values[wide] > 0.5
            kinds.add(mover.kind)
    assert kinds >= {"drawer", "door", "sliding door"}


def test_a_clockwise_turn_brings_the_top_to_the_right(maker):
    for room, performance in performances(maker, "turn"):
        mover = room.movers[performance.mover]
        poses = mover.poses(performance.mover_values[performance.mover])
        front = mover.base[:3, :3]
        # In the furniture's frame, seen from in front: x is to the right.
        ups = (front.T @ poses[:, :3, :3])[:, 0, 2]
        assert (ups[-1] > ups[0]) == (performance.direction == "clockwise")


def test_the_left_hand_mirrors_the_right():
    wrist = pose(about("z", 0.3), np.array([0.1, 0.2, 0.3]))
    mirror = np.diag([-1.0, 1.0, 1.0, 1.0])
    closure = np.array([0.2, 0.4, 0.5, 0.6, 0.7])
    right = hand.bones("right", wrist, closure)
    left = hand.bones("left", mirror @ wrist @ mirror, closure)
    np.testing.assert_allclose(left, mirror @ right @ mirror, atol=1e-12)


@pytest.mark.parametrize("radius", [0.008, 0.02, 0.035, 0.046])
def test_fingers_close_around_a_bar_without_entering_it(radius):
    grip = hand.wrap("right", radius)
    bones = hand.bones("right", np.eye(4), grip.closure, grip.spread, grip.opposition)
    tips = bones[[9, 14, 19], 1:3, 3]
    distance = np.linalg.norm(tips - grip.center[1:], axis=1)
    assert (distance > radius - 0.001).all()
    # Behind the bar as seen from the palm, if it is thick enough to reach around.
    assert (distance < radius + 0.045).all()


def test_pinched_things_fill_the_gap_between_thumb_and_fingers():
    for width in (0.02, 0.05, 0.08):
        grip = hand.pinch("left", width)
        bones = hand.bones("left", np.eye(4), grip.closure, grip.spread, grip.opposition)
        gap = np.linalg.norm(bones[4, :3, 3] - (bones[9, :3, 3] + bones[14, :3, 3]) / 2)
        assert gap - 2 * hand.FINGER_RADIUS == pytest.approx(width, abs=0.006)


def test_quaternions_turn_as_their_matrices():
    rotation = about("x", 3.0) @ about("z", -2.5) @ about("y", 1.1)
    w, x, y, z = quaternions(rotation)
    vector = np.array([0.3, -0.2, 0.9])
    axis = np.array([x, y, z])
    turned = vector + 2 * np.cross(axis, np.cross(axis, vector) + w * vector)
    np.testing.assert_allclose(turned, rotation @ vector, atol=1e-12)

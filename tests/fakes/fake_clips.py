"""Small clips of colored squares that move: enough to store, load and learn from."""

from pathlib import Path
from typing import Any

import numpy as np

from pretrain.clips.clip import Boxes, Clip
from pretrain.clips.dense import DENSE_KINDS, frame_pairs
from pretrain.clips.store import ClipStoreWriter

COLORS = {
    "red": (220, 30, 30), "green": (30, 200, 40), "blue": (40, 60, 220), "white": (240, 240, 240),
}  # fmt: skip
DIRECTIONS = {"left": (0, -1), "right": (0, 1), "up": (-1, 0), "down": (1, 0)}


def make_clip(seed: int, *, size: int = 32, grid: int = 8, depth: bool = True) -> Clip:
    """A square that moves over a slope, with words that are true of it."""
    generator = np.random.default_rng([seed, 7])
    color = str(generator.choice(list(COLORS)))
    direction = str(generator.choice(list(DIRECTIONS)))
    step = np.array(DIRECTIONS[direction]) * size // 10
    frames = np.full((4, size, size, 3), generator.integers(60, 120), np.uint8)
    frames += generator.integers(0, 20, frames.shape, dtype=np.uint8)
    slope = np.linspace(3, 1, grid, dtype=np.float32)[:, None] * np.ones((1, grid), np.float32)
    maps = np.repeat(slope[None], 4, axis=0) * np.float32(generator.uniform(0.7, 1.3))
    masks = np.zeros((4, grid, grid), np.uint8)
    corner = generator.integers(size // 3, size // 2, 2)
    boxes = []
    for frame in range(4):
        top, left = corner + step * frame - step * 2
        side = size // 4
        frames[frame, top : top + side, left : left + side] = COLORS[color]
        ratio = grid / size
        rows = slice(int(top * ratio), int(np.ceil((top + side) * ratio)))
        columns = slice(int(left * ratio), int(np.ceil((left + side) * ratio)))
        maps[frame, rows, columns] = 0.5
        masks[frame, rows, columns] = 1
        boxes.append([left / size, top / size, (left + side) / size, (top + side) / size])
    others = [name for name in DIRECTIONS if name != direction]
    return Clip(
        frames=frames,
        depth=maps if depth else None,
        depth_kind="metric" if depth else None,
        masks=masks,
        boxes=Boxes(
            frame=np.arange(4, dtype=np.int16),
            track=np.zeros(4, np.int16),
            category=[f"{color} square"] * 4,
            side=np.zeros(4, np.int8),
            contact=np.zeros(4, bool),
            xyxy=np.array(boxes, np.float32),
        ),
        camera_pose=None,
        narration=f"#C C moves the {color} square",
        caption=f"#C C moves the {color} square {direction}",
        distractors=(
            f"#C C hides the {color} square {direction}",
            *(f"#C C moves the {color} square {name}" for name in others),
        ),
        key=f"square/{seed}",
        scene=f"slope {seed}",
        source="squares",
        licence="CC0-1.0",
        extra={"seed": seed},
    )


def make_dense_clip(seed: int, **options: Any) -> Clip:
    """The same with dense truth: the square is an object that faces the camera on a slope."""
    clip = make_clip(seed, **options)
    masks, grid = clip.masks, clip.masks.shape[1]
    clip.segmentation = np.where(masks > 0, np.uint8(6), np.uint8(0))
    slope = np.array([0.0, 0.8, 0.6], np.float32)
    clip.normals = np.where(masks[..., None] > 0, np.float32([0, 0, 1]), slope)
    centers = (np.stack(np.meshgrid(*(np.arange(grid),) * 2), axis=-1) + 0.5) / grid
    corners = clip.boxes.xyxy[:, :2]
    points = []
    for first, second in frame_pairs(len(masks)):
        moved = np.where(masks[first][..., None] > 0, corners[second] - corners[first], 0)
        there = (centers + moved).astype(np.float32)
        cell = np.clip((there * grid).astype(int), 0, grid - 1)
        seen = masks[second][cell[..., 1], cell[..., 0]] == masks[first]
        inside = ((there >= 0) & (there <= 1)).all(axis=-1)
        points.append(np.where((seen & inside)[..., None], there, np.float32(np.nan)))
    clip.points = np.stack(points)
    clip.looks = 255 - clip.frames
    return clip


def make_dense_store(path: Path, seeds: range) -> Path:
    """A store of clips with dense truth."""
    with ClipStoreWriter.create(path, {"maker": "squares"}, dense=DENSE_KINDS) as writer:
        writer.append([make_dense_clip(int(seed)) for seed in seeds])
    return path


def make_store(path: Path, seeds: range, *, shards: int = 1, **options: Any) -> Path:
    """A store of such clips, dealt to shards in equal runs."""
    parts = np.array_split(np.array(seeds), shards)
    for number, part in enumerate(parts):
        with ClipStoreWriter.create(path, {"maker": "squares"}, shard=number) as writer:
            writer.append([make_clip(int(seed), **options) for seed in part])
    return path

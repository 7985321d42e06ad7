"""Draws the pictures of docs/environments.md beside this file.

python docs/images/draw.py
"""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from envs.kitchen import KITCHEN_CAMERAS, KitchenEnv
from envs.kitchen.experts import make_expert
from envs.kitchen.visuals import VISUAL_PRESETS

FOLDER = Path(__file__).parent
SIZE = 224
LABEL = 18


def labelled(image: np.ndarray, text: str) -> np.ndarray:
    """The image with a line of text above it."""
    strip = Image.new("RGB", (image.shape[1], LABEL), "white")
    ImageDraw.Draw(strip).text((4, 3), text, fill="black")
    return np.concatenate([np.asarray(strip), image])


def save(rows: list[list[np.ndarray]], name: str) -> None:
    """Writes a grid of images and says its size."""
    grid = np.concatenate([np.concatenate(row, axis=1) for row in rows])
    Image.fromarray(grid).save(FOLDER / name, optimize=True)
    print(f"{name}: {(FOLDER / name).stat().st_size / 1000:.0f} kB")


def qualities() -> None:
    """All cameras, fast above full, with the hand at the microwave's handle."""
    rows = []
    for quality in ("fast", "full"):
        env = KitchenEnv("microwave", cameras=(), resolution=SIZE, quality=quality)
        env.reset(seed=3)
        expert = make_expert(env)
        expert.reset()
        for _ in range(25):
            env.step(expert.act())
        rows.append(
            [
                labelled(env.render_camera(camera), f"{quality}, {camera}")
                for camera in KITCHEN_CAMERAS
            ]
        )
        env.close()
    save(rows, "fast_full.png")


def visual_presets() -> None:
    """Five seeds under each visual preset."""
    rows = []
    for visual in VISUAL_PRESETS:
        env = KitchenEnv("microwave", visual=visual, cameras=("left",), resolution=160)
        rows.append(
            [
                labelled(env.reset(seed=seed)[0]["rgb"]["left"], f"{visual}, seed {seed}")
                for seed in range(5)
            ]
        )
        env.close()
    save(rows, "visual_presets.png")


if __name__ == "__main__":
    qualities()
    visual_presets()

"""Draws the pictures of the kitchen and of synthetic clips for the documentation.

python docs/figures/pictures.py
"""

import textwrap
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from envs.kitchen import KITCHEN_CAMERAS, KitchenEnv
from envs.kitchen.experts import make_expert
from envs.kitchen.visuals import VISUAL_PRESETS
from pretrain.clips.clip import HAND, Clip
from pretrain.clips.dense import CLASSES, DenseKind
from pretrain.clips.synthetic.clips import SyntheticClipConfig, SyntheticClips
from pretrain.clips.synthetic.views import ViewKind, ViewsConfig
from pretrain.evaluate.plots import color_depth

FOLDER = Path(__file__).parents[1] / "images"
SIZE = 224
LABEL = 18


def labeled(image: np.ndarray, text: str) -> np.ndarray:
    """The image with a line of text above it."""
    strip = Image.new("RGB", (image.shape[1], LABEL), "white")
    ImageDraw.Draw(strip).text((4, 3), text, fill="black")
    return np.concatenate([np.asarray(strip), image])


def save(rows: list[list[np.ndarray]], name: str, few_colors: bool = False) -> None:
    """Writes a grid of images and says its size."""
    grid = np.concatenate([np.concatenate(row, axis=1) for row in rows])
    image = Image.fromarray(grid)
    if few_colors:
        image = image.quantize(256)
    image.save(FOLDER / name, optimize=True)
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
                labeled(env.render_camera(camera), f"{quality}, {camera}")
                for camera in KITCHEN_CAMERAS
            ]
        )
        env.close()
    save(rows, "fast_full.png")


def visual_presets() -> None:
    """Five seeds under each visual preset, from a camera that stands still and from the wrist."""
    rows = []
    for camera in ("left", "wrist"):
        for visual in VISUAL_PRESETS:
            env = KitchenEnv("microwave", visual=visual, cameras=(camera,), resolution=160)
            rows.append(
                [
                    labeled(env.reset(seed=seed)[0]["rgb"][camera], f"{visual}, {camera}, {seed}")
                    for seed in range(5)
                ]
            )
            env.close()
    save(rows, "visual_presets.png")


def clips() -> None:
    """The first clips of the test split: frames with boxes, last depth and masks, caption."""
    source = SyntheticClips(SyntheticClipConfig(resolution=SIZE, domain="mixed"), "test")
    drawn = [strip(source.render(seed)) for seed in range(12)]
    source.close()
    save(
        [drawn[number : number + 2] for number in range(0, len(drawn), 2)],
        "clips.png",
        few_colors=True,
    )


def clips_of_view(
    view: ViewKind, number: int, resolution: int, dense: list[DenseKind]
) -> list[Clip]:
    """The first clips of the test split that are seen from one view, with dense truth."""
    weights = ViewsConfig(**{"head": 0.0, view: 1.0})
    source = SyntheticClips(
        SyntheticClipConfig(resolution=resolution, views=weights, dense=dense), "test"
    )
    drawn = [source.render(seed) for seed in range(number)]
    source.close()
    return drawn


def views() -> None:
    """Clips from the wrist and from beside: four frames, then what the last one is known to be."""
    palette = np.random.default_rng(3).integers(40, 256, (len(CLASSES), 3)).astype(np.uint8)
    rows = []
    for view in ("wrist", "third"):
        for clip in clips_of_view(view, 4, SIZE, ["segmentation", "normals"]):
            assert clip.depth is not None
            assert clip.segmentation is not None
            assert clip.normals is not None
            near = np.clip(clip.depth[-1] / 1.2, 0, 1)
            maps = (
                color_depth(near),
                palette[clip.segmentation[-1]],
                np.nan_to_num((clip.normals[-1] + 1) * 127).astype(np.uint8),
            )
            rows.append(np.concatenate([square(image) for image in (*clip.frames, *maps)], axis=1))
    save([[row] for row in rows], "clip_views.png", few_colors=True)


def looks() -> None:
    """Last frames of clips in three views, and the same under another look below."""
    frames, others = [], []
    for view in ("head", "wrist", "third"):
        for clip in clips_of_view(view, 3, SIZE, ["looks"]):
            assert clip.looks is not None
            frames.append(square(clip.frames[-1]))
            others.append(square(clip.looks[-1]))
    save([frames, others], "clip_looks.png", few_colors=True)


def square(image: np.ndarray, side: int = 110) -> np.ndarray:
    """An image at the size of the others."""
    return np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.NEAREST))


def strip(clip: Clip, side: int = 120) -> np.ndarray:
    """One clip in a row, with its caption below."""
    images = []
    for number, frame in enumerate(clip.frames):
        image = Image.fromarray(frame).resize((side, side), Image.Resampling.LANCZOS)
        pen = ImageDraw.Draw(image)
        for index in np.flatnonzero(clip.boxes.frame == number):
            hand = clip.boxes.category[index] == HAND
            if hand or clip.boxes.contact[index]:
                corners = (clip.boxes.xyxy[index] * (side - 1)).tolist()
                pen.rectangle(corners, outline="yellow" if hand else "cyan")
        images.append(np.asarray(image))
    assert clip.depth is not None
    assert clip.masks is not None
    depth = clip.depth[-1]
    shades = color_depth((depth - depth.min()) / (depth.max() - depth.min()))
    palette = np.random.default_rng(5).integers(40, 256, (256, 3)).astype(np.uint8)
    palette[0] = 0
    for image in (shades, palette[clip.masks[-1]]):
        picture = Image.fromarray(image).resize((side, side), Image.Resampling.NEAREST)
        images.append(np.asarray(picture))
    row = np.concatenate(images, axis=1)
    label = Image.new("RGB", (row.shape[1], 3 * 12 + 6), "white")
    text = "\n".join(textwrap.wrap(clip.caption, 126)[:3])
    ImageDraw.Draw(label).multiline_text((4, 2), text, fill="black", spacing=2)
    framed = np.concatenate([row, np.asarray(label)])
    return np.pad(framed, ((0, 0), (0, 6), (0, 0)), constant_values=255)


if __name__ == "__main__":
    qualities()
    visual_presets()
    clips()
    views()
    looks()

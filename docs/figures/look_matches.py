"""Measures and draws whether an encoder finds a point again, later and under another look.

    python docs/figures/look_matches.py [--clips 63]

Test clips of the synthetic source are drawn under two looks, from the head, the wrist and beside.
For points that are seen in the first frame and in the last one, the simulator says where they are.
The encoder looks for each point of the first frame among all places of the last one, which is drawn
under the other look: the place whose features have the largest cosine with the point's, means taken
off, both maps interpolated. Prints how far from the truth that is, and writes
``docs/images/look_matches.png``: found to within a token is green, else red.
"""

import argparse
from typing import get_args

import numpy as np
import torch
from pictures import clips_of_view, labeled, save
from PIL import Image, ImageDraw
from torch.nn import functional

from egodtm_robot.encoders import make_encoder
from pretrain.clips.clip import Clip
from pretrain.clips.dense import frame_pairs
from pretrain.clips.synthetic.views import ViewKind

SIDE, GRID, FINE = 128, 8, 32
"""Of the frames in pixels, of the tokens, and of the map in which places are looked for."""
TOKEN = SIDE / GRID
ENCODERS = {
    "efficientnet_lite0": {"name": "efficientnet_lite0", "resolution": SIDE, "grid": GRID},
    "egodtm": {"name": "egodtm"},
    "egodtm_looks": {"name": "egodtm_looks"},
}
VIEWS = get_args(ViewKind)
SHOWN, LINES, ZOOM = 2, 14, 2
"""Clips of each view in the picture, points of each clip, and the factor of its size."""


def correspondences(clip: Clip) -> np.ndarray:
    """Points of the first frame and where they are in the last one, pixels (n, 2, 2) as (x, y)."""
    assert clip.points is not None
    pair = frame_pairs(len(clip.frames)).index((0, len(clip.frames) - 1))
    later = clip.points[pair]
    height, width = later.shape[:2]
    y, x = np.mgrid[:height, :width] + 0.5
    first = np.stack([x / width, y / height], axis=-1)
    both = np.stack([first, later], axis=2)[::2, ::2].reshape(-1, 2, 2)
    return SIDE * both[np.isfinite(both).all(axis=(1, 2))]


def feature_maps(encoder: dict[str, object], images: np.ndarray) -> torch.Tensor:
    """Maps (N, D, FINE, FINE) without their mean."""
    tokens = torch.as_tensor(make_encoder(encoder).encode(images))
    tokens = tokens - tokens.mean(dim=(0, 1))
    maps = tokens.transpose(1, 2).unflatten(2, (GRID, GRID))
    return functional.interpolate(maps, (FINE, FINE), mode="bilinear")


def found(first: torch.Tensor, last: torch.Tensor, points: np.ndarray) -> np.ndarray:
    """Where points of the first frame are found in the last, pixels (n, 2)."""
    at = torch.as_tensor(2 * points / SIDE - 1, dtype=torch.float32)[None, :, None]
    asked = functional.grid_sample(first[None], at, align_corners=False)[0, :, :, 0]
    asked, places = (functional.normalize(one, dim=0) for one in (asked, last.flatten(1)))
    best = (asked.T @ places).argmax(dim=1).numpy()
    return (np.stack([best % FINE, best // FINE], axis=1) + 0.5) * SIDE / FINE


def lines(clip: Clip, truth: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Both frames side by side, and lines from points to where they are found."""
    assert clip.looks is not None
    pair = Image.fromarray(np.concatenate([clip.frames[0], clip.looks[-1]], axis=1))
    pair = pair.resize((pair.width * ZOOM, pair.height * ZOOM), Image.Resampling.LANCZOS)
    pen = ImageDraw.Draw(pair)
    for number in np.linspace(0, len(truth) - 1, LINES).astype(int):
        off = np.linalg.norm(places[number] - truth[number, 1])
        color = "lime" if off <= TOKEN else "red"
        start, end = ZOOM * truth[number, 0], ZOOM * (places[number] + [SIDE, 0])
        pen.line([*start, *end], fill=color, width=2)
        pen.ellipse([*(start - 3), *(start + 3)], outline=color, width=2)
    return np.asarray(pair.resize((pair.width * 2 // 3, pair.height * 2 // 3)))


def main() -> None:
    """Prints the table and writes the picture."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--clips", type=int, default=63)
    each = parser.parse_args().clips // len(VIEWS)
    clips = [
        clip for view in VIEWS for clip in clips_of_view(view, each, SIDE, ["points", "looks"])
    ]
    truths = [correspondences(clip) for clip in clips]
    first = np.stack([clip.frames[:1] for clip in clips])
    last = np.stack([clip.looks[-1:] for clip in clips if clip.looks is not None])
    shown = [view * each + number for view in range(len(VIEWS)) for number in range(SHOWN)]
    columns = []
    print("| encoder | within a token | median distance, tokens |\n|---|---|---|")
    for name, encoder in ENCODERS.items():
        maps = zip(*feature_maps(encoder, np.concatenate([first, last])).chunk(2), strict=True)
        places = [found(*pair, truth[:, 0]) for pair, truth in zip(maps, truths, strict=True)]
        off = [
            np.linalg.norm(place - truth[:, 1], axis=1) / TOKEN
            for place, truth in zip(places, truths, strict=True)
            if len(truth)
        ]
        near = np.mean([(one <= 1).mean() for one in off])
        print(f"| `{name}` | {100 * near:.0f} % | {np.mean([np.median(one) for one in off]):.2f} |")
        columns.append(
            [labeled(lines(clips[clip], truths[clip], places[clip]), name) for clip in shown]
        )
    save([list(row) for row in zip(*columns, strict=True)], "look_matches.png", few_colors=True)


if __name__ == "__main__":
    main()

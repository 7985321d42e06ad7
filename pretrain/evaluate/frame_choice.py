"""Which of a clip's stored frames a model sees.

The published rules choose among all frames of a video; here they choose among those that a store
keeps of a clip (``decoding.frames`` of the preparation). Sources, read at these commits:

- showlab/EgoVLP 928406c, ``base/base_dataset.py``, ``sample_frames`` and its kin;
- facebookresearch/LaViLa 8002b5a, ``lavila/data/datasets.py``, ``get_frame_ids`` and the branch of
  EGTEA Gaze+; facebookresearch/EgoVLPv2 and Chuhanxx/helping_hand_for_egocentric_videos do the same
  for EPIC-KITCHENS-100;
- zhaoyue-zephyrus/AVION 31b00b6, ``avion/data/clip_dataset.py``, ``get_frame_ids``.
"""

import numpy as np

from egodtm_robot.core.errors import DatasetError
from pretrain.clips.clip_randomness import clip_generator
from pretrain.evaluate.loader import FrameChoice, LoaderConfig


def choose_frames(stored: int, shown: int, loader: LoaderConfig, key: str = "") -> np.ndarray:
    """Places of the frames of each view of a clip.

    Args:
        stored: how many frames the clip has.
        shown: frames of a view.
        loader: which.
        key: of the clip, for random choices.

    Returns:
        int64 (views, shown), ascending in each view.

    Raises:
        DatasetError: the clip has too few frames.
    """
    reach = shown if loader.choice in ("windows", "center") else 1
    least = max(shown, 1 + (reach - 1) * loader.stride)
    if stored < least:
        raise DatasetError(
            f"Expected clips of at least {least} stored frames for loader={loader.name} "
            f"({shown} frames, choice={loader.choice}, stride={loader.stride}), got {stored}. "
            "Prepare the clips with more decoding.frames (synthetic ones: "
            "data.synthetic.frames), or set loader.frames."
        )
    if loader.choice == "windows":
        last = stored - least
        # As LaViLa places its clips of a video, which reach to the end of the last stride.
        starts = np.linspace(0, max(0, min(last, stored - shown * loader.stride)), loader.windows)
        steps = np.arange(shown) * loader.stride
        return starts.astype(np.int64)[:, None] + steps
    if loader.choice == "center":
        return ((stored - least) // 2 + np.arange(shown) * loader.stride)[None]
    return _segments(stored, shown, loader.choice, loader.seed, key)[None]


def _segments(stored: int, shown: int, choice: FrameChoice, seed: int, key: str) -> np.ndarray:
    """One place in each of equal segments: int64 (shown,)."""
    if choice == "lavila":
        bounds = np.round((stored - 1) / shown * np.arange(shown + 1)).astype(np.int64)
        return (bounds[:-1] + bounds[1:]) // 2
    bounds = np.linspace(0, stored, shown + 1).astype(np.int64)
    if choice == "egovlp":
        return (bounds[:-1] + bounds[1:] - 1) // 2
    if choice == "random":
        return clip_generator(seed, key).integers(bounds[:-1], bounds[1:])
    middles: np.ndarray = ((np.arange(shown) + 0.5) * stored / shown).astype(np.int64)
    return middles

"""Windows of the last T frames: an episode's first is repeated, and none crosses episodes.

Two forms of one rule. :func:`history_windows` indexes recorded episodes, :func:`advance_windows`
moves the windows of running ones forward; both give the same window for the same step.
"""

import numpy as np


def history_windows(episode_offsets: np.ndarray, history: int) -> np.ndarray:
    """Steps that each step's window holds.

    Args:
        episode_offsets: int64 (E + 1,), the first step of each episode, and N.
        history: T, at least 1.

    Returns:
        int64 (N, T), oldest first and ending with the step itself. A window never reaches into
        the episode before: its first step is repeated instead.
    """
    offsets = np.asarray(episode_offsets, dtype=np.int64)
    steps = np.arange(offsets[-1])
    first = np.repeat(offsets[:-1], np.diff(offsets))
    windows = steps[:, None] + np.arange(1 - history, 1)
    return np.maximum(windows, first[:, None])


def advance_windows(
    windows: np.ndarray | None, frames: np.ndarray, starts: np.ndarray, history: int
) -> np.ndarray:
    """Windows of running episodes after one more frame of each.

    Args:
        windows: (B, T, ...) before the frame, oldest first; None where every row starts.
        frames: (B, ...), the new frames.
        starts: bool (B,), the rows whose episode begins with this frame; what their windows held
            is forgotten.
        history: T, at least 1.

    Returns:
        (B, T, ...), new memory, of the type of ``frames``.
    """
    advanced = np.repeat(frames[:, None], history, axis=1)
    if windows is not None and history > 1:
        kept = ~np.asarray(starts, dtype=bool)
        advanced[kept, :-1] = windows[kept, 1:]
    return advanced

"""Meshes that the clips are drawn with, as they come from elsewhere.

``right_hand.npz``: a rigged hand of the WebXR input profiles (MIT; ``LICENSE.right_hand.md``).
``household_objects.npz``: meshes of objects from MyoSuite's object_sim (Apache-2.0;
``LICENSE.household_objects``), decimated to 1,800 faces each and centered.
"""

import functools
from importlib import resources

import numpy as np

_FOLDER = "pretrain.clips.synthetic.assets"


@functools.cache
def load(name: str) -> dict[str, np.ndarray]:
    """The arrays of ``name``.npz, meters.

    Args:
        name: ``right_hand`` or ``household_objects``.
    """
    with (
        resources.as_file(resources.files(_FOLDER).joinpath(f"{name}.npz")) as path,
        np.load(path, allow_pickle=False) as arrays,
    ):
        return {key: arrays[key] for key in arrays.files}

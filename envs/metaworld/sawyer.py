"""Meta-World's environments on a current MuJoCo, with cameras of our choice.

The package pins MuJoCo 3.3.0, so it is installed without its dependencies, which this project has
anyway. Two methods of its base class are overridden: one writes rows of 11 numbers where MuJoCo 4
has 12, the other compiles the model without our cameras. The installed package is left as it is.
"""

import copy
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np

from egodtm_robot.core.errors import EgoDTMRobotError
from envs.cameras import Camera
from envs.metaworld.cameras import ADDED_CAMERAS, METAWORLD_CAMERAS
from envs.metaworld.tasks import Sawyer
from envs.mujoco_models import add_cameras, remove_textures

VERSION = "3.1.1"
"""The tested version; constraints.txt pins the same."""

INSTALL_COMMAND = f"pip install --no-deps metaworld=={VERSION}"
"""Without dependencies, as the package pins an older MuJoCo; this project has all others."""


class MetaWorldNotFoundError(EgoDTMRobotError, ImportError):
    """The package metaworld is not installed."""


def import_metaworld() -> Any:
    """The package ``metaworld`` with its environments and policies.

    Raises:
        MetaWorldNotFoundError: it is not installed.
    """
    try:
        import metaworld
        import metaworld.env_dict
        import metaworld.policies
    except ImportError as error:
        raise MetaWorldNotFoundError(
            f"Expected the package metaworld, got {error}. Install it with: {INSTALL_COMMAND}"
        ) from error
    return metaworld


def make_sawyer(environment: str, cameras: Sequence[Camera]) -> Sawyer:
    """One of Meta-World's environments, randomized at each reset, its goal observable.

    Args:
        environment: what Meta-World calls it, such as ``drawer-open-v3``.
        cameras: those that the model lacks are added to it.
    """
    original = import_metaworld().env_dict.ALL_V3_ENVIRONMENTS[environment]

    class CurrentSawyer(original):  # type: ignore[misc, valid-type]
        def _initialize_simulation(self) -> tuple[mujoco.MjModel, mujoco.MjData]:
            model = copy.copy(_compiled(self.fullpath, tuple(cameras)))
            return model, mujoco.MjData(model)

        def reset_mocap_welds(self) -> None:
            welds = self.model.eq_type == mujoco.mjtEq.mjEQ_WELD
            # anchor, relative position, relative quaternion, torque scale: all that it writes
            self.model.eq_data[welds, :11] = [0, 0, 0, 0, 0, 0, -1, 0, 0, 0, 5]

    sawyer = CurrentSawyer()
    # What Meta-World's own set_task sets from a pickled task: positions are drawn from np_random.
    sawyer._set_task_called = True
    sawyer._freeze_rand_vec = False
    sawyer.seeded_rand_vec = True
    sawyer._partially_observable = False
    del sawyer.sawyer_observation_space  # a cached property, which hid the goal
    # Our own horizon truncates.
    sawyer.max_path_length = np.iinfo(np.int64).max
    return sawyer


@dataclass(frozen=True)
class TexturedModel:
    """Builds a Meta-World model with its textures; equal for equal models.

    Attributes:
        path: of the model's MJCF file.
    """

    path: str

    def __call__(self) -> mujoco.MjModel:
        """The model with its textures and without free cameras."""
        return mujoco.MjSpec.from_file(self.path).compile()


@functools.lru_cache(maxsize=16)
def _compiled(path: str, cameras: tuple[Camera, ...]) -> mujoco.MjModel:
    """The model with our cameras; its textures are single pixels, see TexturedModel."""
    spec = mujoco.MjSpec.from_file(path)
    remove_textures(spec)
    free = [camera for camera in cameras if camera.name not in METAWORLD_CAMERAS]
    add_cameras(spec, [*ADDED_CAMERAS, *free])
    return spec.compile()

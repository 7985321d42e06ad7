"""Five tasks of Meta-World with a Sawyer arm; importing this package registers them.

>>> import gymnasium, envs.metaworld
>>> env = gymnasium.make("EgoDTMMetaWorld/DrawerOpen-v0", cameras=())

The simulator is the package ``metaworld``, which is installed apart (see
:mod:`envs.metaworld.sawyer`); it is imported when the first environment is built.
"""

import gymnasium

import envs  # noqa: F401  (before MuJoCo: it chooses the library to draw with)
from envs.metaworld.tasks import METAWORLD_TASKS

__all__ = ["METAWORLD_TASKS"]


for _name in METAWORLD_TASKS:
    _id = f"EgoDTMMetaWorld/{''.join(part.title() for part in _name.split('_'))}-v0"
    if _id not in gymnasium.registry:
        gymnasium.register(
            _id, entry_point="envs.metaworld.env:MetaWorldEnv", kwargs={"task": _name}
        )

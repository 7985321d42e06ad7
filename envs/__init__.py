"""Robot environments with the Gymnasium interface; importing this package registers them.

>>> import gymnasium, envs
>>> env = gymnasium.make("EgoDTMKitchen/Light-v0", cameras=())
"""

import gymnasium

from egodtm_robot.core.gl import select_backend

# MuJoCo binds itself to an OpenGL library when it is imported, which the next line does.
select_backend()

from envs.kitchen.tasks import KITCHEN_TASKS  # noqa: E402

NAMESPACE = "EgoDTMKitchen"

for _name in KITCHEN_TASKS:
    _id = f"{NAMESPACE}/{''.join(part.title() for part in _name.split('_'))}-v0"
    if _id not in gymnasium.registry:
        # The horizon depends on preset and task: the environment truncates by itself.
        gymnasium.register(_id, entry_point="envs.kitchen.env:KitchenEnv", kwargs={"task": _name})

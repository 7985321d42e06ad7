"""Robot environments with the Gymnasium interface; importing this package registers them.

>>> import gymnasium, envs
>>> env = gymnasium.make("EgoDTMKitchen/Light-v0", cameras=())

``EgoDTMRoboHive/Light-v0`` and so on are the same tasks in RoboHive's FK1 kitchen, whose assets are
installed apart (see :mod:`envs.robohive.simhive`).
"""

import gymnasium

from egodtm_robot.core.drawing.gl import select_backend

# MuJoCo binds itself to an OpenGL library when it is imported, which the next line does.
select_backend()

from envs.kitchen.tasks import KITCHEN_TASKS  # noqa: E402

NAMESPACES = {
    "EgoDTMKitchen": "envs.kitchen.env:KitchenEnv",
    "EgoDTMRoboHive": "envs.robohive.env:RoboHiveKitchenEnv",
}

for _namespace, _entry_point in NAMESPACES.items():
    for _name in KITCHEN_TASKS:
        _id = f"{_namespace}/{''.join(part.title() for part in _name.split('_'))}-v0"
        if _id not in gymnasium.registry:
            # The horizon depends on preset and task: the environment truncates by itself.
            gymnasium.register(_id, entry_point=_entry_point, kwargs={"task": _name})

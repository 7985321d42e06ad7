"""RoboHive's FK1 kitchen as a Gymnasium environment."""

from envs.kitchen.env import KitchenEnv, KitchenScene
from envs.kitchen.visuals import Surface
from envs.robohive.scene import KETTLE_REST, build_model, textured_model


class RoboHiveKitchenEnv(KitchenEnv):
    """:class:`envs.kitchen.KitchenEnv` in RoboHive's own FK1 scene.

    Tasks, resets, looks, cameras, actions and observations are those of the other kitchen; what
    differs is the scene: RoboHive's room, furniture and arm.

    Args:
        args: as for :class:`envs.kitchen.KitchenEnv`.
        kwargs: as for :class:`envs.kitchen.KitchenEnv`.

    Raises:
        SimhiveNotFoundError: RoboHive's assets are not there.
    """

    kind = "robohive_kitchen"

    scene = KitchenScene(
        build_model=build_model,
        textured_model=textured_model,
        surfaces={
            "cabinets": Surface(("counter_blue", "M_slide_blue", "M_hinge_blue"), white_hue=30.0),
            "counter": Surface(("counter_marble",), white_hue=35.0),
            "room": Surface(("MatMetal",)),
            "floor": Surface(("MatPlane",), white_hue=30.0),
        },
        kettle_rest=KETTLE_REST,
    )

"""The strategy of each task, with its numbers."""

from dataclasses import replace

import numpy as np

from envs.kitchen.experts.carry_kettle import CarryKettle
from envs.kitchen.experts.hook import HookDoor
from envs.kitchen.experts.open_from_inside import OpenFromInside
from envs.kitchen.experts.push import Contact, PushLever
from envs.kitchen.experts.scene_view import OPEN, SceneView, Strategy
from envs.kitchen.experts.sequence import OpenThen


def _slide_contact(scene: SceneView) -> Contact:
    point = scene.site("slide_site") + np.array([0.0, 0.0, -0.06])
    return Contact(point, np.array([1.0, 0.0, 0.0]), 0.47 - scene.joint("slide_cabinet"))


def _light_contact(scene: SceneView) -> Contact:
    point = scene.site("light_site")
    return Contact(point, np.array([-1.0, 0.0, 0.0]), 0.15)


KNOB_RADIUS = 0.042


def _knob_contact(scene: SceneView) -> Contact:
    turned = -scene.joint("knob1")
    outwards = np.array([np.sin(turned), 0.0, np.cos(turned)])
    direction = np.array([np.cos(turned), 0.0, -np.sin(turned)])
    point = scene.site("knob1_site") + KNOB_RADIUS * outwards
    return Contact(point, direction, 0.1)


OPEN_MICROWAVE = HookDoor(
    site="microhandle_site",
    joint="microwave",
    opened=1.4,
    yaw=0.45,
    yaw_per_angle=0.3,
    pitch=-0.7,
)
FLIP_LIGHT = PushLever(_light_contact, behind=0.045, depth=-0.002)

STRATEGIES: dict[str, Strategy] = {
    "microwave": OPEN_MICROWAVE,
    "hinge_cabinet": HookDoor(
        site="leftdoor_site",
        joint="left_hinge",
        opened=1.4,
        yaw=0.3,
        yaw_per_angle=0.3,
        pitch=0.3,
        height=-0.08,
        grip=OPEN,
        rotation_weights=(0.1, 0.1, 0.3),
    ),
    "slide_cabinet": PushLever(_slide_contact, behind=0.045, depth=0.023),
    "light": FLIP_LIGHT,
    "knob": PushLever(
        _knob_contact,
        behind=0.035,
        depth=-0.001,
        lead=0.1,
        hold=1.5,
        yaw=-0.15,
        across_tolerance=(0.012, 0.03),
        rotation_weights=(0.1, 0.1, 0.3),
    ),
    "kettle": CarryKettle(),
    "microwave_light": OpenThen(
        OPEN_MICROWAVE,
        released=0.98,
        following=replace(FLIP_LIGHT, rotation_weights=(0.05, 0.05, 0.05)),
    ),
}

FROM_NOMINAL_BASE: dict[str, Strategy] = {
    "hinge_cabinet": OpenFromInside(site="leftdoor_site", joint="left_hinge"),
}
"""Where the robot does not stand about the task's center, these take the place of those above."""

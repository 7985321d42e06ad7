"""RoboHive's FK1 tasks: what each is called here and there."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from egodtm_robot.core.errors import UnknownNameError

Variant = Literal["random", "fixed"]
"""What RoboHive's resets draw: ``random`` moves the robot's base by up to 10 cm along each axis and
its joints by up to 2.5 % of their ranges; ``fixed`` begins every episode alike."""


@dataclass(frozen=True)
class FK1Task:
    """One task.

    Attributes:
        name: as in ``env=robohive_fk1_<name>``.
        stem: of RoboHive's ids, such as ``FK1_MicroOpen``.
        expert: task of :data:`envs.kitchen.tasks.KITCHEN_TASKS` whose scripted expert does it;
            empty: none does.
    """

    name: str
    stem: str
    expert: str = ""

    def environment(self, variant: Variant) -> str:
        """RoboHive's id of the task, such as ``FK1_MicroOpenRandom_v2d-v4``.

        The variant ``random`` is the one with pictures, on which policies that see are compared.
        """
        return f"{self.stem}{'Random_v2d' if variant == 'random' else 'Fixed'}-v4"


FK1_TASKS: Mapping[str, FK1Task] = MappingProxyType(
    {
        task.name: task
        for task in (
            FK1Task("microwave", "FK1_MicroOpen", expert="microwave"),
            FK1Task("slide_cabinet", "FK1_SdoorOpen", expert="slide_cabinet"),
            FK1Task("hinge_cabinet", "FK1_LdoorOpen", expert="hinge_cabinet"),
            FK1Task("knob", "FK1_Knob1On", expert="knob"),
            FK1Task("light", "FK1_LightOn", expert="light"),
            FK1Task("microwave_close", "FK1_MicroClose"),
            FK1Task("slide_cabinet_close", "FK1_SdoorClose"),
            FK1Task("hinge_cabinet_close", "FK1_LdoorClose"),
            FK1Task("right_hinge", "FK1_RdoorOpen"),
            FK1Task("right_hinge_close", "FK1_RdoorClose"),
            FK1Task("knob_off", "FK1_Knob1Off"),
            FK1Task("knob2", "FK1_Knob2On"),
            FK1Task("knob2_off", "FK1_Knob2Off"),
            FK1Task("knob3", "FK1_Knob3On"),
            FK1Task("knob3_off", "FK1_Knob3Off"),
            FK1Task("knob4", "FK1_Knob4On"),
            FK1Task("knob4_off", "FK1_Knob4Off"),
            FK1Task("light_off", "FK1_LightOff"),
            FK1Task("kettle_right", "FK1_Stove1Kettle"),
            FK1Task("kettle_back", "FK1_Stove4Kettle"),
        )
    }
)


def get_task(name: str) -> FK1Task:
    """The task of that name.

    Raises:
        UnknownNameError: there is no such task.
    """
    if name not in FK1_TASKS:
        raise UnknownNameError("task", name, tuple(FK1_TASKS))
    return FK1_TASKS[name]

import pytest

from egodtm_robot.core.fingerprints import hash_parts
from envs.kitchen.config import KitchenConfig
from envs.kitchen.tasks import KITCHEN_TASKS

FROZEN_LOOKS = {
    "fixed": "88852d2eb5243789",
    "varied": "503a0d1a0cc7f580",
    "shifted": "6d214f7d6194ce7e",
}
FROZEN_RESETS = {
    "default": "f12b9007712059e7",
    "fk1": "e6acfa243c272a4c",
    "r3m": "372b6f79e6a046eb",
    "fk1_v4": "d7809a99bf3d9798",
    "r3m_v005": "f97ced619e80e796",
}
"""Results name these presets: whoever changes what one draws gives it another name."""


@pytest.mark.parametrize("look", FROZEN_LOOKS)
def test_the_ranges_of_a_look_stay(look):
    assert KitchenConfig(visual=look).preset_hashes["visual"] == FROZEN_LOOKS[look]


@pytest.mark.parametrize("resets", FROZEN_RESETS)
def test_where_resets_put_things_in_each_task_stays(resets):
    configs = [KitchenConfig(task=task, randomization=resets) for task in KITCHEN_TASKS]
    found = hash_parts([config.preset_hashes["randomization"] for config in configs])
    assert found == FROZEN_RESETS[resets]

"""The settings of a pretraining."""

import pytest

from egodtm_robot.core.configuration import compose
from pretrain.learning.configuration import PretrainConfig


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        (["seed=3", "training.workers=0"], "synthetic/text_depth_seed3"),
        (["objective=region", "steps=3"], "synthetic-steps_3/region_seed0"),
        (
            ["data=store", "data.path=[a/b,c]", "initial=egodtm_tiny"],
            "store-data.path_a_b+c-initial_egodtm_tiny/text_depth_seed0",
        ),
    ],
)
def test_the_default_folder_tells_what_differs_from_the_defaults(overrides: list[str], name: str):
    config = compose(PretrainConfig, "pretrain", overrides)
    assert config.folder.as_posix() == f"runs/pretrain/egodtm_tiny/{name}"

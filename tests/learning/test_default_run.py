"""The default folder of the main job."""

import pytest

from egodtm_robot.core.configuration import compose
from egodtm_robot.learning.cloning_run import TrainBCConfig
from egodtm_robot.learning.default_run import default_run_dir

PIXELS = "egodtm_robot.encoders.pixels.PixelEncoder"


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        (["workers=0", "encoder=pixels", "encoder.batch_size=1"], "microwave/E/quick_seed0"),
        (
            ["policy=knn", "policy.neighbors=3", "demos.noise=0.1", "protocol=few", "seed=2"],
            "microwave/E-policy_knn-policy.neighbors_3-demos.noise_0.1/few_seed2",
        ),
        (
            [
                "env=franka_kitchen_light",
                "env.visual=varied",
                f"encoder._target_={PIXELS}",
                "+encoder.size=3",
            ],
            "light/E-env.visual_varied-encoder.size_3/quick_seed0",
        ),
        (
            [
                "env=custom",
                "env._target_=envs.metaworld.env.MetaWorldEnv",
                "env.task=hammer",
                "env.resolution=64",
                "env.cameras=[side]",
            ],
            "metaworld_hammer/E-env.resolution_64/quick_seed0",
        ),
    ],
    ids=["defaults", "policy", "encoder of one's own", "environment of one's own"],
)
def test_it_tells_what_differs_from_the_defaults(overrides: list[str], name: str):
    config = compose(TrainBCConfig, "train_bc", overrides)
    assert default_run_dir(config, "E").as_posix() == f"runs/{name}"

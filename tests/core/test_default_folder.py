"""Default folders of runs: named by what differs, found again, never shared."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from egodtm_robot.core.default_folder import default_folder
from egodtm_robot.core.run_folder import claim_run_dir
from egodtm_robot.core.training.identity import NOT_DECISIVE, options_not_decisive


@dataclass
class Training:
    rate: float = 0.1
    sizes: list[int] = field(default_factory=lambda: [1])
    workers: int = field(default=2, metadata=NOT_DECISIVE)


@dataclass
class Config:
    part: dict[str, Any] = field(
        default_factory=lambda: {"kind": "mlp", "width": 3, "threads": 1},
        metadata=options_not_decisive("threads"),
    )
    training: Training = field(default_factory=Training)
    data: str | None = None


def folder(config: Config, **options: Any) -> Path:
    return default_folder(Path("runs", "light"), config, Config(), leaf="seed0", **options)


@pytest.mark.parametrize(
    ("config", "name"),
    [
        (Config(), "light"),
        (Config(training=Training(workers=9)), "light"),
        (Config(part={"kind": "mlp", "width": 3, "threads": 7}), "light"),
        (Config(training=Training(rate=1e-5)), "light-training.rate_1e-05"),
        (Config(training=Training(sizes=[])), "light-training.sizes_none"),
        (
            Config(training=Training(rate=-2.0, sizes=[3, 4])),
            "light-training.rate_-2.0-training.sizes_3+4",
        ),
        (Config(part={"kind": "knn", "width": 3}), "light-part_knn"),
        (Config(part={"kind": "mlp", "_target_": "my.Mine"}), "light-part.width_absent-part_Mine"),
        (Config(data="../a b/clips='1,2'"), "light-data_.._a_b_clips_1_2"),
        (Config(data="clips/日本"), "light-data_clips_日本"),
        (Config(data=""), "light-data_none"),
    ],
)
def test_a_name_carries_what_differs_from_the_defaults(config: Config, name: str):
    assert folder(config) == Path("runs", name, "seed0")


def test_a_long_name_is_cut_and_stays_apart_from_others():
    config = Config(training=Training(rate=0.2), data="x" * 300)
    name = folder(config).parent.name
    # Pinned: a name that changed would hide the runs of before.
    assert name == "light-training.rate_0.2-f3b002e5"
    assert folder(replace(config, data="x" * 301)).parent.name != name
    assert len(folder(Config(data="日" * 60)).parent.name.encode()) <= 110


def test_a_run_of_an_earlier_version_is_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    changed = Config(training=Training(rate=0.2))
    claim_run_dir(Path("runs", "light", "seed0"), changed)
    claim_run_dir(Path("runs", "older"), replace(changed, data="x"))
    assert folder(changed) == Path("runs", "light", "seed0")
    assert folder(replace(changed, data="x"), earlier=[Path("runs", "older")]).name == "older"
    other = replace(changed, data="y")
    assert folder(other, earlier=[Path("runs", "older")]).parent.name == (
        "light-training.rate_0.2-data_y"
    )
    # A folder whose settings cannot be read is nobody's.
    Path("runs", "light", "seed0", "config.yaml").write_text("[")
    assert folder(changed).parent.name == "light-training.rate_0.2"

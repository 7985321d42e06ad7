from pathlib import Path

import pytest

from egodtm_robot.evaluation.episode_log import EpisodeLog
from egodtm_robot.evaluation.rollouts import EpisodeResult

EPISODES = [
    EpisodeResult(7, success=True, steps=40, solved_step=33, solved_steps=6, progress=1.0),
    EpisodeResult(8, success=False, steps=75, solved_step=None, solved_steps=0, progress=0.1 + 0.2),
    EpisodeResult(9, success=False, steps=75, solved_step=None, solved_steps=0, progress=None),
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    log = EpisodeLog(tmp_path / "episodes.jsonl", "one")
    for episode in EPISODES:
        log.add(episode)
    return tmp_path / "episodes.jsonl"


def test_episodes_come_back_exactly(path: Path) -> None:
    assert list(EpisodeLog(path, "one").results.values()) == EPISODES


def test_episodes_of_another_evaluation_do_not_count_and_are_kept(path: Path) -> None:
    other = EpisodeLog(path, "other")
    assert other.results == {}
    other.add(EPISODES[0])
    assert len(EpisodeLog(path, "one").results) == 3
    assert len(EpisodeLog(path, "other").results) == 1


def test_whatever_a_kill_has_left_of_a_line_is_cut_off(path: Path) -> None:
    data = path.read_bytes()
    begin = data.rindex(b"\n", 0, -1) + 1
    for cut in range(begin, len(data)):
        path.write_bytes(data[:cut])
        log = EpisodeLog(path, "one")
        assert list(log.results.values()) == EPISODES[:2], cut
        log.add(EPISODES[2])
        assert path.read_bytes() == data


@pytest.mark.parametrize("line", [b"[2, 'one', 7]\n", b"\0\0\0\0\n", b"{}\n", b"7\n"])
def test_what_is_no_episode_ends_the_log(path: Path, line: bytes) -> None:
    path.write_bytes(line + path.read_bytes())
    assert EpisodeLog(path, "one").results == {}


def test_lines_of_another_version_do_not_count(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"[1,", b"[2,", 1))
    assert list(EpisodeLog(path, "one").results.values()) == EPISODES[1:]

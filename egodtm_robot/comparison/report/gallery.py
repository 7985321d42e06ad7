"""The failure gallery: films of two arms on the same episode, chosen where they disagree."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from egodtm_robot.comparison.arms import Arm, Condition, RunEpisodes
from egodtm_robot.comparison.comparison import Comparison
from egodtm_robot.comparison.report.film_clips import FilmClip, FilmError, cut_film, film_number
from egodtm_robot.comparison.report.pair_differences import pairs_to_draw
from egodtm_robot.comparison.report.parts import Table, condition_name, percent
from egodtm_robot.comparison.report.run_records import RunRecord

_MOST_NAMED = 12
"""Disagreements without films that the page names."""


@dataclass(frozen=True)
class Side:
    """One arm in a pair of films.

    Attributes:
        arm: its name.
        success: whether it solved the episode.
        text: how the episode went.
        clip: the film.
    """

    arm: str
    success: bool
    text: str
    clip: FilmClip


@dataclass(frozen=True)
class FilmPair:
    """Two arms on the same episode.

    Attributes:
        title: of the episode.
        text: who solved it.
        sides: the films.
    """

    title: str
    text: str
    sides: tuple[Side, Side]


@dataclass(frozen=True)
class Gallery:
    """The part of the page on episodes.

    Attributes:
        agreement: how often both, one and neither of two arms solved an episode.
        films: pairs of films, those where one arm failed first.
        left_out: pairs of films that there was no room for.
        limit_mb: the room, megabytes.
        missing: disagreements that were not filmed, some of them.
        unfilmed: disagreements that were not filmed, in all.
        problems: films that could not be read.
    """

    agreement: Table
    films: tuple[FilmPair, ...]
    left_out: int
    limit_mb: float
    missing: Table
    unfilmed: int
    problems: tuple[str, ...]


@dataclass(frozen=True)
class _Attempt:
    """One arm's run on one episode.

    Attributes:
        arm: its name.
        run: that met the episode.
        position: of the episode in the run.
        record: of the run's folder; None where it has none.
        film: number of the episode in the run's films; None if it was not filmed.
    """

    arm: str
    run: RunEpisodes
    position: int
    record: RunRecord | None
    film: int | None

    @property
    def success(self) -> bool:
        """Whether the episode was solved."""
        return bool(self.run.success[self.position])

    @property
    def text(self) -> str:
        """How it went, in words."""
        step = None if self.run.solved_step is None else self.run.solved_step[self.position]
        if self.success:
            return "solved" if step is None else f"solved after {step:.0f} steps"
        steps = "" if self.run.steps is None else f" in {self.run.steps[self.position]} steps"
        progress = ""
        if self.run.progress is not None:
            progress = f", progress {percent(self.run.progress[self.position])} %"
        return f"failed{steps}{progress}"


@dataclass(frozen=True)
class _Meeting:
    """Two arms on the same episode."""

    condition: Condition
    episode_seed: int
    first: _Attempt
    second: _Attempt

    @property
    def solved(self) -> tuple[bool, bool]:
        """Which of the two solved it."""
        return self.first.success, self.second.success

    @property
    def disagree(self) -> bool:
        """Whether one solved it and the other did not."""
        return self.first.success != self.second.success

    @property
    def unfilmed(self) -> list[str]:
        """Names of the arms that have no film of it."""
        return [one.arm for one in (self.first, self.second) if one.film is None]


def gallery(
    arms: Sequence[Arm],
    comparison: Comparison,
    records: Mapping[Path, RunRecord],
    films: int,
    films_mb: float,
) -> Gallery:
    """The gallery of a comparison.

    Args:
        arms: with the episodes that the comparison was made of.
        comparison: of the arms.
        records: of the runs that have a folder, by the folder.
        films: how many pairs to show.
        films_mb: megabytes that they may take in the page.
    """
    by_name = {arm.name: arm for arm in arms}
    agreement: list[tuple[str, ...]] = []
    queues: list[list[_Meeting]] = []
    missing: list[_Meeting] = []
    for pair in pairs_to_draw(comparison):
        for condition in comparison.compared:
            both = (by_name[pair.first], by_name[pair.second])
            meetings = list(_meetings(*both, condition, records))
            if not meetings:
                continue
            name = condition_name(condition, comparison.conditions)
            agreement.append((f"{pair.first}, {pair.second}", name, *_counts(meetings)))
            queues.append([one for one in _failures_first(meetings) if not one.unfilmed])
            missing += [one for one in meetings if one.unfilmed and one.disagree]
    # Disagreements of all conditions come before failures of both.
    chosen = sorted(_in_turn(queues), key=lambda one: not one.disagree)
    shown, left_out, problems = _cut(chosen, comparison, films, films_mb)
    return Gallery(
        agreement=Table(
            "Episodes that both, one or neither of two arms solved",
            ("pair", "condition", "both", "only first", "only second", "neither", "agreement"),
            tuple(agreement),
        ),
        films=tuple(shown),
        left_out=left_out,
        limit_mb=films_mb,
        missing=_missing_table(missing[:_MOST_NAMED], comparison),
        unfilmed=len(missing),
        problems=tuple(problems),
    )


def _meetings(
    first: Arm, second: Arm, condition: Condition, records: Mapping[Path, RunRecord]
) -> Iterator[_Meeting]:
    """The episodes that both arms have met under a condition, by run seed and episode seed."""
    ours, theirs = (
        {run.run_seed: run for run in arm.runs if run.condition == condition}
        for arm in (first, second)
    )
    for run_seed in sorted(ours.keys() & theirs.keys()):
        one, other = (
            _attempts(first, ours[run_seed], records),
            _attempts(second, theirs[run_seed], records),
        )
        for episode_seed in sorted(one.keys() & other.keys()):
            yield _Meeting(condition, episode_seed, one[episode_seed], other[episode_seed])


def _attempts(arm: Arm, run: RunEpisodes, records: Mapping[Path, RunRecord]) -> dict[int, _Attempt]:
    """A run's episodes by their seeds; none where they have no seeds."""
    seeds = [] if run.episode_seeds is None else run.episode_seeds.tolist()
    record = None if run.source is None else records.get(run.source)
    return {
        seed: _Attempt(
            arm.name,
            run,
            position,
            record,
            None if record is None else film_number(record, run.condition, seed),
        )
        for position, seed in enumerate(seeds)
    }


def _counts(meetings: Sequence[_Meeting]) -> tuple[str, ...]:
    solved = [one.solved for one in meetings]
    kinds = ((True, True), (True, False), (False, True), (False, False))
    agreed = sum(not one.disagree for one in meetings)
    return (*(str(solved.count(kind)) for kind in kinds), f"{percent(agreed / len(solved))} %")


def _failures_first(meetings: Sequence[_Meeting]) -> list[_Meeting]:
    """Failures of one arm alone, first and second arm in turn, then failures of both."""
    kinds = ((False, True), (True, False), (False, False))
    first, second, both = ([one for one in meetings if one.solved == kind] for kind in kinds)
    return [*_in_turn([first, second]), *both]


def _in_turn(queues: Sequence[Sequence[_Meeting]]) -> list[_Meeting]:
    """One of each queue after the other."""
    rounds = itertools.zip_longest(*queues)
    return [one for turn in rounds for one in turn if one is not None]


def _cut(
    chosen: Sequence[_Meeting], comparison: Comparison, films: int, films_mb: float
) -> tuple[list[FilmPair], int, list[str]]:
    """The pairs of films, how many had no room, and what could not be read."""
    shown: list[FilmPair] = []
    problems: dict[str, None] = {}
    room = films_mb * 1e6
    for number, meeting in enumerate(chosen):
        if len(shown) == films:
            break
        try:
            sides = (_side(meeting.first), _side(meeting.second))
        except FilmError as error:
            problems[str(error)] = None
            continue
        room -= sum(side.clip.size for side in sides)
        if room < 0:
            left_out = min(films - len(shown), len(chosen) - number)
            return shown, left_out, list(problems)
        row = meeting.first.run
        name = condition_name(meeting.condition, comparison.conditions)
        title = f"{name}, run seed {row.run_seed}, episode {meeting.episode_seed}"
        shown.append(FilmPair(title, _who(meeting), sides))
    return shown, 0, list(problems)


def _side(attempt: _Attempt) -> Side:
    assert attempt.record is not None
    assert attempt.film is not None
    clip = cut_film(attempt.record, attempt.film)
    return Side(attempt.arm, attempt.success, attempt.text, clip)


def _who(meeting: _Meeting) -> str:
    if not meeting.disagree:
        return "Both solved it." if meeting.first.success else "Both failed."
    solved, failed = meeting.first.arm, meeting.second.arm
    if meeting.second.success:
        solved, failed = failed, solved
    return f"{failed} failed, {solved} solved it."


def _missing_table(missing: Sequence[_Meeting], comparison: Comparison) -> Table:
    return Table(
        "Disagreements without films",
        ("condition", "run seed", "episode", "what happened", "not filmed by"),
        tuple(
            (
                condition_name(one.condition, comparison.conditions),
                str(one.first.run.run_seed),
                str(one.episode_seed),
                _who(one),
                ", ".join(one.unfilmed),
            )
            for one in missing
        ),
    )

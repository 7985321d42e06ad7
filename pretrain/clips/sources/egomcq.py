"""EgoMCQ: multiple-choice questions about Ego4D, and the clips that they ask about.

Lin et al., NeurIPS 2022 (arXiv 2206.01670): a narration and five clips, of which one is the
narrated one.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pretrain.clips.sources.base import ClipRequest, Failure
from pretrain.clips.sources.ego4d import LICENCE
from pretrain.clips.sources.tables import AnnotationFileError, checked, fill, read_json

CHOICE_FIELDS = ("video_uid", "clip_start", "clip_end", "clip_text")
"""What is read of each choice; its names are those of EgoClip's columns."""


@dataclass(frozen=True)
class ClipQuestion:
    """A narration and clips of which one is the narrated one.

    Attributes:
        text: the narration.
        choices: keys of the clips, as :class:`EgoMcqSource` names them.
        answer: which of them is right, from 0.
        within_video: whether all are of one video. The published ``types`` say the same with 1 and
            2, which published code reads both ways round.
    """

    text: str
    choices: tuple[str, ...]
    answer: int
    within_video: bool


class EgoMcqSource:
    """The clips of all choices, each once.

    Args:
        annotations: ``egomcq.json``.
        videos: folder of the videos.
        video: path of a video below it, a pattern of ``{video_uid}``; a file or a folder of pieces.
    """

    kind = "egomcq"

    name = "ego4d"

    def __init__(self, annotations: str, videos: str, video: str = "{video_uid}.mp4") -> None:
        self.annotations = Path(annotations)
        self.videos = str(videos)
        self.video = video

    def read(self) -> Iterator[ClipRequest | Failure]:
        """Every clip in the order in which questions first name it.

        Raises:
            AnnotationFileError: the file is missing or of another form.
        """
        known = set()
        for name, _, choices, _ in _read(self.annotations):
            for choice in choices:
                key = _key(choice)
                if key in known:
                    continue
                known.add(key)
                try:
                    start_s, end_s = float(choice["clip_start"]), float(choice["clip_end"])
                except (TypeError, ValueError) as error:
                    yield Failure(key, "source", f"Expected seconds in question {name}: {error}.")
                    continue
                uid = str(choice["video_uid"])
                request = ClipRequest(
                    key=key,
                    video=fill(f"{self.videos}/{self.video}", video_uid=uid),
                    start_s=start_s,
                    end_s=end_s,
                    narration=str(choice["clip_text"]),
                    scene=uid,
                    source=self.name,
                    licence=LICENCE,
                )
                yield checked(request, f"{self.annotations.name}, question {name}")


def read_clip_questions(path: str | Path) -> list[ClipQuestion]:
    """The questions of ``egomcq.json`` in the file's order.

    Raises:
        AnnotationFileError: the file is missing or of another form.
    """
    return [
        ClipQuestion(
            text=text,
            choices=tuple(_key(choice) for choice in choices),
            answer=answer,
            within_video=len({choice["video_uid"] for choice in choices}) == 1,
        )
        for _, text, choices, answer in _read(Path(path))
    ]


def _read(path: Path) -> Iterator[tuple[str, str, list[dict[str, Any]], int]]:
    """Name, text, choices and answer of every question."""
    content = read_json(path)
    if not isinstance(content, dict) or not content:
        raise AnnotationFileError(
            f"Expected questions by their numbers in {path}, as EgoMCQ publishes them, got "
            f"{type(content).__name__} of {len(content) if hasattr(content, '__len__') else 0}."
        )
    for name, question in content.items():
        try:
            text = str(question["query"]["clip_text"])
            choices = [question["choices"][str(n)] for n in range(len(question["choices"]))]
            answer = int(question["answer"])
            missing = [f for choice in choices for f in CHOICE_FIELDS if f not in choice]
        except (KeyError, TypeError, ValueError) as error:
            raise AnnotationFileError(
                f"Expected question {name} of {path} with query.clip_text, choices numbered from "
                f"0 and answer, got something else ({error!r})."
            ) from error
        if missing:
            raise AnnotationFileError(
                f"Expected {', '.join(CHOICE_FIELDS)} with every choice of question {name} of "
                f"{path}, {missing[0]} is missing."
            )
        if len(choices) < 2 or not 0 <= answer < len(choices):
            raise AnnotationFileError(
                f"Expected an answer among at least two choices in question {name} of {path}, got "
                f"{answer} of {len(choices)}."
            )
        yield name, text, choices, answer


def _key(choice: dict[str, Any]) -> str:
    return f"{choice['video_uid']}/{choice['clip_start']}-{choice['clip_end']}"

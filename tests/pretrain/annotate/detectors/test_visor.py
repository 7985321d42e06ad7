"""VISOR's files, and the contact rule on its polygons."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pretrain.annotate.detectors.visor import AnnotationFormatError, read_visor


def square(left: float, top: float, side: float = 108) -> list[list[float]]:
    return [[left, top], [left + side, top], [left + side, top + side], [left, top + side]]


def entity(name: str, corner: tuple[float, float], touches: str | None = None) -> dict[str, Any]:
    content = {"id": f"id of {name}", "name": name, "segments": [square(*corner)]}
    return content if touches is None else {**content, "in_contact_object": touches}


def write(path: Path, *entities: dict[str, Any]) -> Path:
    image = {"image_path": "P01_1/frame_1.jpg", "name": "frame_1.jpg"}
    path.write_text(
        json.dumps({"video_annotations": [{"image": image, "annotations": list(entities)}]})
    )
    return path


def test_hands_objects_and_contact_are_read(tmp_path: Path):
    path = write(
        tmp_path / "a.json",
        entity("left hand", (0, 0), "id of cup"),
        entity("right hand", (960, 540), "hand-not-in-contact"),
        entity("cup", (192, 108)),
        {"id": "x", "name": "crumb", "segments": []},
    )
    (frame,) = read_visor(path)
    assert str(frame.path) == "P01_1/frame_1.jpg"
    boxes = frame.boxes()
    boxes.check(1)
    assert boxes.category == ["hand", "hand", "cup"]  # what has no polygon is left out
    assert boxes.side.tolist() == [1, 2, 0]
    assert boxes.contact.tolist() == [True, False, True]
    np.testing.assert_allclose(boxes.xyxy[2], [0.1, 0.1, 0.15625, 0.2])
    mask = frame.entities[1].mask(27, 48)
    assert mask[14, 25]
    assert not mask[5, 25]
    assert 6 <= mask.sum() <= 16  # 2.7 x 2.7 pixels and their borders
    assert len(read_visor(tmp_path)) == 1


def test_hands_of_which_nobody_could_tell_are_marked(tmp_path: Path):
    path = write(
        tmp_path / "a.json",
        entity("left hand", (0, 0), "inconclusive"),
        entity("right hand", (0, 300), "none-of-the-above"),
        entity("cup", (300, 300)),
    )
    left, right, cup = read_visor(path)[0].entities
    assert (left.decided, right.decided, cup.decided) == (False, False, True)
    assert left.touches is None


def test_other_files_are_named(tmp_path: Path):
    with pytest.raises(AnnotationFormatError, match="none"):
        read_visor(tmp_path)
    other = tmp_path / "other.json"
    other.write_text("[1]")
    with pytest.raises(AnnotationFormatError, match=r"other\.json"):
        read_visor(other)
    with pytest.raises(AnnotationFormatError, match="missing"):
        read_visor(tmp_path / "missing.json")


def test_a_real_file_of_visor_is_read_whole(sample: Callable[[str], Path]):
    frames = read_visor(sample("data/ego/ann/visor/train/P01_104.json"))
    assert len(frames) == 113
    hands = [entity for frame in frames for entity in frame.entities if entity.is_hand]
    assert sum(hand.decided for hand in hands) > 150
    ids = {entity.id for frame in frames for entity in frame.entities}
    assert {hand.touches for hand in hands if hand.touches} <= ids
    for frame in frames:
        frame.boxes().check(1)

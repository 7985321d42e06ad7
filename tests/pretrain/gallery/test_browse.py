import base64
import io
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from egodtm_robot.core.configuration import compose
from egodtm_robot.core.errors import ConfigurationError, UnknownNameError
from pretrain.browse import BrowseConfig, chosen_clips, main
from pretrain.clips import ClipStoreWriter
from pretrain.clips.clip import Boxes

sys.path.append(str(Path(__file__).parents[2] / "fakes"))
from fake_clips import make_clip, make_store


class Page(HTMLParser):
    """What a browser would find: elements with their attributes, and the text of each article."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict]] = []
        self.articles: list[str] = []
        self._inside = False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag == "article":
            self._inside = True
            self.articles.append("")

    def handle_endtag(self, tag):
        if tag == "article":
            self._inside = False

    def handle_data(self, data):
        if self._inside:
            self.articles[-1] += data

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def page_of(folder: Path, *overrides: str) -> tuple[str, Page]:
    file = folder / "page.html"
    main([f"clips={folder / 'store'}", f"html={file}", *overrides])
    text = file.read_text(encoding="utf-8")
    return text, Page(text)


def test_a_page_shows_frames_depth_masks_boxes_and_texts(tmp_path, capsys):
    make_store(tmp_path / "store", range(5))
    text, page = page_of(tmp_path)
    assert "5 of 5 clips" in capsys.readouterr().out
    assert len(page.articles) == 5
    first = make_clip(0)
    assert first.narration in page.articles[0]
    assert first.caption in page.articles[0]
    assert all(false in page.articles[0] for false in first.distractors)
    images = page.all("img")
    assert [image["alt"] for image in images[:3]] == ["frame", "depth", "masks"]
    assert len(images) == 5 * 4 * 3
    frame, _, masks = (
        Image.open(io.BytesIO(base64.b64decode(image["src"].partition(",")[2])))
        for image in images[:3]
    )
    difference = np.asarray(frame.convert("RGB")).astype(int) - first.frames[0]
    assert np.abs(difference).mean() < 12
    assert (masks.width, masks.height) == (8, 8)
    # A box of the first frame, in the coordinates of the drawing.
    left, top, right, _ = first.boxes.xyxy[0] * 224
    box = page.all("rect")[0]
    assert float(box["x"]) == pytest.approx(left, abs=0.1)
    assert float(box["y"]) == pytest.approx(top, abs=0.1)
    assert float(box["width"]) == pytest.approx(right - left, abs=0.1)
    # The way of the track, longer from frame to frame.
    ways = [line["points"].count(",") for line in page.all("polyline")[:3]]
    assert ways == [2, 3, 4]
    assert "<td>100 % (5 metric)</td>" in text


def test_nothing_comes_from_elsewhere(tmp_path):
    make_store(tmp_path / "store", range(1))
    text, page = page_of(tmp_path)
    assert not page.all("link")
    assert all("src" not in script for script in page.all("script"))
    assert all(image["src"].startswith("data:image/webp;base64,") for image in page.all("img"))
    assert not re.search(r"https?://", text)
    assert "default-src 'none'" in text


def test_every_text_is_escaped(tmp_path):
    evil = "</article><script>alert(1)</script><b>&amp;\"'"
    clip = make_clip(0)
    clip.narration = clip.caption = clip.key = clip.scene = clip.source = clip.licence = evil
    clip.distractors = (evil,)
    clip.boxes.category = [evil] * 4
    clip.extra = {
        "start_s": 0.0,
        "end_s": 1.0,
        "caption_report": {"writer": evil, "fallback": evil, "problem": evil},
    }
    with ClipStoreWriter.create(tmp_path / "store") as writer:
        writer.append([clip])
    text, page = page_of(tmp_path)
    assert len(page.articles) == 1
    assert len(page.all("script")) == 1
    assert not page.all("b")[4:], "an element came out of a text"
    assert "<script>alert" not in text
    assert page.articles[0].count(evil) >= 6
    assert page.all("article")[0]["data-text"].count(evil.lower()) == 5


def test_clips_without_boxes_depth_and_masks_are_shown(tmp_path):
    clip = make_clip(1, depth=False)
    clip.boxes, clip.masks = Boxes.empty(), None
    clip.caption, clip.distractors = clip.narration, ()
    with ClipStoreWriter.create(tmp_path / "store") as writer:
        writer.append([clip])
    _, page = page_of(tmp_path)
    assert page.all("article")[0]["data-tags"] == "no-hand no-depth plain"
    assert len(page.all("img")) == 4
    assert not page.all("rect")
    assert "<mark>" not in page.articles[0]


def test_what_a_caption_adds_is_marked(tmp_path):
    clip = make_clip(2)
    clip.narration = "#C C moves the mug"
    clip.caption = "#C C moves the mug to the left"
    with ClipStoreWriter.create(tmp_path / "store") as writer:
        writer.append([clip])
    text, _ = page_of(tmp_path)
    assert "#C C moves the mug<mark> to the left</mark>" in text


def test_a_part_is_spread_over_the_set_and_reproducible():
    few = BrowseConfig(clips="x", limit=3)
    assert chosen_clips(few, 9) == [0, 3, 6]
    assert chosen_clips(few, 2) == [0, 1]
    assert chosen_clips(few, 0) == []
    mixed = BrowseConfig(clips="x", limit=50, order="random", seed=3)
    assert chosen_clips(mixed, 100) == chosen_clips(mixed, 100)
    assert sorted(chosen_clips(mixed, 100)) == list(range(0, 100, 2))
    assert chosen_clips(mixed, 100) != sorted(chosen_clips(mixed, 100))


def test_the_command_refuses_what_cannot_be(tmp_path):
    with pytest.raises(UnknownNameError, match="order"):
        compose(BrowseConfig, "browse", ["clips=x", "order=best"])
    with pytest.raises(ConfigurationError, match="limit"):
        compose(BrowseConfig, "browse", ["clips=x", "limit=0"])
    with pytest.raises(SystemExit):
        main([f"clips={tmp_path / 'nowhere'}", f"html={tmp_path / 'page.html'}"])
    assert not (tmp_path / "page.html").exists()


def test_a_crowd_is_labeled_where_hands_and_contact_are(tmp_path):
    clip = make_clip(0)
    count = 9
    clip.boxes = Boxes(
        frame=np.zeros(count, np.int16),
        track=np.arange(count, dtype=np.int16),
        category=["hand", *(f"mug {index}" for index in range(count - 1))],
        side=np.zeros(count, np.int8),
        contact=np.arange(count) == 3,
        xyxy=np.tile(np.array([0.2, 0.2, 0.5, 0.5], np.float32), (count, 1)),
    )
    with ClipStoreWriter.create(tmp_path / "store") as writer:
        writer.append([clip])
    text, page = page_of(tmp_path)
    assert len(page.all("rect")) == count
    assert re.findall(r"<text[^>]*>([^<]*)</text>", text) == ["hand 0", "mug 2 3 ●"]
    assert "<title>mug 7 8</title>" in text

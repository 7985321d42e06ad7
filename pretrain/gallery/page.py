"""One HTML page of clips, complete in itself: no script, style or picture comes from elsewhere.

Boxes and tracks are drawn as SVG over the frames, so that they stay sharp and can be switched off.
Every text of a clip is escaped.
"""

import base64
import difflib
import html
import io
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib import resources
from string import Template

import numpy as np
from PIL import Image

from pretrain.annotate.captions.nouns import head, parse
from pretrain.clips.clip import HAND, LEFT, NO_SIDE, RIGHT, Boxes, Clip
from pretrain.evaluate.plots import color_depth

_FRAME_QUALITY = 75
_LOSSLESS = None
_DEPTH_QUALITY = 90
_FEW_BOXES = 6
"""In a frame with more, only hands and what is in contact get a label; pointing tells the rest."""

_MOST_COMMON = 12
_SIDES = {NO_SIDE: "", LEFT: "left ", RIGHT: "right "}

# Told apart on dark and bright ground, and by people who see red and green alike (Okabe and Ito).
_HANDS = {LEFT: "#ffd21f", RIGHT: "#ff8c1a", NO_SIDE: "#ffb41a"}
_THINGS = ("#56b4e9", "#2fd9a4", "#f28cc8", "#b5e853", "#c9a7ff", "#7ef0ff")
_TRACKS = np.array(
    [[30, 30, 30], [255, 140, 26], [86, 180, 233], [47, 217, 164], [242, 140, 200], [181, 232, 83],
     [201, 167, 255], [126, 240, 255]],
    np.uint8,
)  # fmt: skip
"""Colors of masks: the background, then track by track."""


@dataclass
class _Statistics:
    """What is counted while the clips go by."""

    clips: int = 0
    frames: int = 0
    frames_with_hand: int = 0
    hands: int = 0
    objects: int = 0
    contacts: int = 0
    with_depth: int = 0
    known: float = 0.0
    with_masks: int = 0
    enriched: int = 0
    scenes: set[str] = field(default_factory=set)
    durations: list[float] = field(default_factory=list)
    sources: Counter[str] = field(default_factory=Counter)
    verbs: Counter[str] = field(default_factory=Counter)
    nouns: Counter[str] = field(default_factory=Counter)
    things: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    writers: Counter[str] = field(default_factory=Counter)
    fallbacks: Counter[str] = field(default_factory=Counter)

    def add(self, clip: Clip) -> None:
        """Count a clip."""
        self.clips += 1
        self.frames += len(clip.frames)
        self.scenes.add(clip.scene)
        self.sources[clip.source] += 1
        is_hand = np.array([name == HAND for name in clip.boxes.category], bool)
        self.hands += int(is_hand.sum())
        self.objects += int((~is_hand).sum())
        self.contacts += int(clip.boxes.contact[is_hand].sum())
        self.frames_with_hand += len(np.unique(clip.boxes.frame[is_hand]))
        self.things.update(name for name in clip.boxes.category if name != HAND)
        if clip.depth is not None:
            self.with_depth += 1
            self.known += float((~np.isnan(clip.depth)).mean())
            self.kinds[str(clip.depth_kind)] += 1
        self.with_masks += clip.masks is not None
        self.enriched += clip.caption != clip.narration
        parsed = parse(clip.narration)
        self.verbs.update([parsed.verb] if parsed.verb else [])
        self.nouns.update(head(noun) for noun in parsed.nouns)
        start, end = clip.extra.get("start_s"), clip.extra.get("end_s")
        if start is not None and end is not None:
            self.durations.append(float(end) - float(start))
        report = clip.extra.get("caption_report")
        if isinstance(report, dict):
            self.writers[str(report.get("writer"))] += 1
            if report.get("fallback"):
                self.fallbacks[str(report["fallback"]).partition(":")[0]] += 1


def make_page(clips: Iterable[Clip], *, title: str, total: int, per_page: int, width: int) -> str:
    """The page.

    Args:
        clips: to show, in this order; one is held in memory at a time.
        title: of the page.
        total: clips that the set has.
        per_page: clips to show at a time.
        width: of a frame, pixels, at most.

    Returns:
        HTML.
    """
    statistics = _Statistics()
    cards = []
    for clip in clips:
        statistics.add(clip)
        cards.append(_card(clip, width))
    template = (resources.files(__package__) / "page.html").read_text(encoding="utf-8")
    return Template(template).substitute(
        title=html.escape(title),
        summary=_summary(statistics, total),
        statistics=_statistics(statistics),
        cards="\n".join(cards),
        per_page=per_page,
    )


def _card(clip: Clip, width: int) -> str:
    depth = None if clip.depth is None else _normalized(clip.depth)
    height = max(1, round(width * clip.frames.shape[1] / clip.frames.shape[2]))
    cells = []
    for number, frame in enumerate(clip.frames):
        pictures = [
            f'<div class="frame">{_picture(_shrunk(frame, width), _FRAME_QUALITY, "frame")}'
            f"{_overlay(clip.boxes, number, width, height)}</div>"
        ]
        if depth is not None:
            pictures.append(_picture(color_depth(depth[number]), _DEPTH_QUALITY, "depth", "map"))
        if clip.masks is not None:
            colors = _TRACKS[_mask_colors(clip.masks[number])]
            pictures.append(_picture(colors, _LOSSLESS, "masks", "map"))
        time = _time(clip, number)
        cells.append(f'<div class="column">{"".join(pictures)}{time}</div>')
    tags = " ".join(_tags(clip))
    searched = " ".join([clip.key, clip.scene, clip.source, clip.narration, clip.caption])
    false = "".join(f"<li>{html.escape(text)}</li>" for text in clip.distractors)
    false = f"<details><summary>false captions</summary><ul>{false}</ul></details>" if false else ""
    return (
        f'<article data-tags="{tags}" data-text="{html.escape(searched.lower())}">'
        f'<h2>{html.escape(clip.key)}</h2><p class="origin">{_origin(clip)}</p>'
        f'<div class="frames">{"".join(cells)}</div>'
        f'<div class="texts"><div><h3>narration</h3><p>{html.escape(clip.narration)}</p></div>'
        f"<div><h3>{_caption_title(clip)}</h3><p>{_marked(clip.narration, clip.caption)}</p>"
        f"{false}</div></div></article>"
    )


def _picture(pixels: np.ndarray, quality: int | None, text: str, kind: str = "") -> str:
    """An image element; without a quality it keeps every pixel."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "WEBP", lossless=quality is None, quality=quality or 100)
    content = base64.b64encode(file.getvalue()).decode()
    attribute = f' class="{kind}"' if kind else ""
    return f'<img{attribute} alt="{text}" src="data:image/webp;base64,{content}">'


def _shrunk(frame: np.ndarray, width: int) -> np.ndarray:
    height = max(1, round(width * frame.shape[0] / frame.shape[1]))
    if width >= frame.shape[1]:
        return frame
    return np.asarray(Image.fromarray(frame).resize((width, height), Image.Resampling.BOX))


def _overlay(boxes: Boxes, frame: int, width: int, height: int) -> str:
    """Boxes of a frame, and the way that each track has come, as SVG."""
    parts = []
    rows = np.flatnonzero(boxes.frame == frame)
    for row in rows:
        left, top, right, bottom = boxes.xyxy[row] * (width, height, width, height)
        color = _color(boxes, int(row))
        touching = bool(boxes.contact[row])
        side = _SIDES[int(boxes.side[row])]
        name = f"{side}{boxes.category[row]} {boxes.track[row]}" + (" ●" if touching else "")
        track = (boxes.track == boxes.track[row]) & (boxes.frame <= frame)
        corners = boxes.xyxy[track][np.argsort(boxes.frame[track], kind="stable")]
        centers = (corners[:, :2] + corners[:, 2:]) / 2 * (width, height)
        is_main = len(rows) <= _FEW_BOXES or touching or boxes.category[row] == HAND
        if len(centers) > 1 and is_main:
            points = " ".join(f"{x:.1f},{y:.1f}" for x, y in centers)
            parts.append(f'<polyline points="{points}" stroke="{color}"/>')
        thickness = 3 if touching else 1.6
        parts.append(
            f'<rect x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" '
            f'height="{bottom - top:.1f}" stroke="{color}" stroke-width="{thickness}">'
            f"<title>{html.escape(name)}</title></rect>"
        )
        if not is_main:
            continue
        # A label stays within the picture: below the upper edge, and short of the right one.
        x = min(max(float(left), 1.0), max(1.0, width - 0.024 * width * len(name)))
        size = 0.042 * width
        y = max(float(top) - 2, size)
        parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:.1f}" fill="{color}">'
            f"{html.escape(name)}</text>"
        )
    return f'<svg viewBox="0 0 {width} {height}">{"".join(parts)}</svg>'


def _color(boxes: Boxes, row: int) -> str:
    if boxes.category[row] == HAND:
        return _HANDS[int(boxes.side[row])]
    return _THINGS[int(boxes.track[row]) % len(_THINGS)]


def _normalized(depth: np.ndarray) -> np.ndarray:
    """Depth of a clip within 0 to 1, the same scale for all of its frames."""
    known = depth[~np.isnan(depth)]
    if not known.size:
        return depth
    low, high = np.percentile(known, [1, 99])
    scaled: np.ndarray = np.clip((depth - low) / max(high - low, 1e-9), 0, 1)
    return scaled


def _mask_colors(mask: np.ndarray) -> np.ndarray:
    colors = (mask.astype(np.int64) - 1) % (len(_TRACKS) - 1) + 1
    return np.where(mask == 0, 0, colors)


def _time(clip: Clip, frame: int) -> str:
    times = clip.extra.get("times_s")
    if not isinstance(times, list) or len(times) != len(clip.frames):
        return ""
    return f'<span class="time">{times[frame]:.2f} s</span>'


def _tags(clip: Clip) -> list[str]:
    """What the page can filter by."""
    tags = ["hand" if HAND in clip.boxes.category else "no-hand"]
    if bool(clip.boxes.contact.any()):
        tags.append("contact")
    tags.append("no-depth" if clip.depth is None else "depth")
    tags.append("enriched" if clip.caption != clip.narration else "plain")
    report = clip.extra.get("caption_report")
    if isinstance(report, dict) and report.get("fallback"):
        tags.append("fallback")
    return tags


def _origin(clip: Clip) -> str:
    parts = [clip.source, clip.scene]
    start, end = clip.extra.get("start_s"), clip.extra.get("end_s")
    if start is not None and end is not None:
        parts.append(f"{start:.2f} to {end:.2f} s")
    parts.append(f"{clip.frames.shape[0]} frames of {clip.frames.shape[2]} px")
    if clip.depth is not None:
        known = clip.depth[~np.isnan(clip.depth)]
        unit = " m" if clip.depth_kind == "metric" else ""
        span = f" {known.min():.2f} to {known.max():.2f}{unit}" if known.size else " not known"
        parts.append(f"{clip.depth_kind} depth{span}")
    parts.append(f"licence {clip.licence}")
    return " · ".join(html.escape(str(part)) for part in parts)


def _caption_title(clip: Clip) -> str:
    report = clip.extra.get("caption_report")
    if not isinstance(report, dict):
        return "caption"
    writer = html.escape(f"caption by {str(report.get('writer')).replace('_', ' ')}")
    reasons = [report[name] for name in ("fallback", "problem") if report.get(name)]
    text = html.escape("; ".join(str(reason) for reason in reasons))
    return f'{writer} <span class="warning" title="{text}">{text}</span>' if reasons else writer


def _marked(narration: str, caption: str) -> str:
    """The caption, with what it adds to the narration marked."""
    before, after = (re.findall(r"\w+|[^\w\s]+|\s+", text) for text in (narration, caption))
    matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
    parts = []
    for kind, _, _, start, stop in matcher.get_opcodes():
        text = html.escape("".join(after[start:stop]))
        if text:
            parts.append(text if kind == "equal" else f"<mark>{text}</mark>")
    return "".join(parts)


def _summary(numbers: _Statistics, total: int) -> str:
    scenes = f"{len(numbers.scenes)} scene" + ("s" if len(numbers.scenes) != 1 else "")
    if numbers.clips == total:
        return f"{total} clips, {scenes}"
    return f"{numbers.clips} of {total} clips, {scenes}; the numbers are of those shown"


def _statistics(numbers: _Statistics) -> str:
    clips = max(numbers.clips, 1)
    rows = [
        ("hand boxes a clip", f"{numbers.hands / clips:.2f}"),
        ("frames with a hand", _percent(numbers.frames_with_hand, numbers.frames)),
        ("hands in contact", _percent(numbers.contacts, numbers.hands)),
        ("object boxes a clip", f"{numbers.objects / clips:.2f}"),
        ("clips with depth", _percent(numbers.with_depth, numbers.clips)
         + _in_brackets(numbers.kinds)),
        ("pixels with depth, of those", _percent(numbers.known, numbers.with_depth)),
        ("clips with masks", _percent(numbers.with_masks, numbers.clips)),
        ("captions that add to the narration", _percent(numbers.enriched, numbers.clips)),
    ]  # fmt: skip
    if numbers.writers:
        rows.append(("captions by", _listed(numbers.writers)))
        fallbacks = sum(numbers.fallbacks.values())
        share = _percent(fallbacks, numbers.clips)
        rows.append(("fell back to the template", share + _in_brackets(numbers.fallbacks)))
    if numbers.durations:
        shortest, middle, longest = np.percentile(numbers.durations, [0, 50, 100])
        rows.append(("duration", f"{shortest:.2f} to {longest:.2f} s, median {middle:.2f} s"))
    rows.append(("sources", _listed(numbers.sources)))
    table = "".join(
        f"<tr><th>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>"
        for name, value in rows
    )
    charts = [
        _bars("verbs", numbers.verbs),
        _bars("nouns", numbers.nouns),
        _bars("boxes of things", numbers.things),
    ]
    return f"<table>{table}</table>{''.join(charts)}"


def _bars(name: str, counts: Counter[str]) -> str:
    if not counts:
        return ""
    most = counts.most_common(_MOST_COMMON)
    lines = "".join(
        f"<li><span>{html.escape(word)}</span>"
        f'<i style="width:{100 * count / most[0][1]:.1f}px"></i>{count}</li>'
        for word, count in most
    )
    others = len(counts) - len(most)
    rest = f"<li><span>and {others} more</span></li>" if others > 0 else ""
    return f"<div><h3>{name}</h3><ul class='bars'>{lines}{rest}</ul></div>"


def _percent(part: float, whole: float) -> str:
    return f"{100 * part / whole:.0f} %" if whole else "none"


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{name} ({count})" for name, count in counts.most_common(6))


def _in_brackets(counts: Counter[str]) -> str:
    return (
        f" ({', '.join(f'{count} {name}' for name, count in sorted(counts.items()))})"
        if counts
        else ""
    )

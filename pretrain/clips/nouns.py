"""The nouns of a clip's text: the things in its boxes that the text names."""

import re

from pretrain.clips.clip import HAND, Boxes


def named_things(text: str, boxes: Boxes) -> list[str]:
    """The categories of boxes that a text names, in the order of the text.

    A category counts if its words stand in the text in a row, in any case; not those that stand
    only inside a longer one, such as "cupboard door" in "left cupboard door". Hands are no nouns.

    Args:
        text: narration or caption.
        boxes: of the same clip.
    """
    places: list[tuple[int, int, str]] = []
    for name in sorted(set(boxes.category) - {HAND}, key=lambda name: (-len(name), name)):
        for found in re.finditer(rf"\b{re.escape(name)}\b", text, re.IGNORECASE):
            start, end = found.span()
            if all(end <= first or last <= start for first, last, _ in places):
                places.append((start, end, name))
    return list(dict.fromkeys(name for _, _, name in sorted(places)))

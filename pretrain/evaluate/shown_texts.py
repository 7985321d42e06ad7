"""In which words a model is asked.

EgoVLP (928406c), LaViLa (8002b5a), AVION (31b00b6) and HelpingHands (354a53e) hand the narrations
of Ego4D to their tokenizers with ``#C C`` in them, and those of EPIC-KITCHENS-100 as they stand in
the table.
"""

import re

from pretrain.evaluate.loader import LoaderConfig, Tags

_OTHER = re.compile(
    r"#\s*O\b(?i:\s+(a|an|the)\b)?(?i:\s+(man|woman|person|lady|boy|girl|kid)\b)?(\s+[A-Z]\b)?"
)
_WEARER = re.compile(r"#\s*C\b(\s+C\b)?")
_REMARK = re.compile(r"#\s*(unsure|summary|unknown)\b", re.IGNORECASE)


def shown_text(text: str, loader: LoaderConfig) -> str:
    """A text as a model gets it."""
    text = _without_tags(text, loader.tags)
    if loader.lower_case:
        text = text.lower()
    return loader.template.replace("{}", text)


def _without_tags(text: str, tags: Tags) -> str:
    if tags == "keep":
        return text
    wearer, other = ("the person", "another person") if tags == "name" else ("", "")
    text = _REMARK.sub("", text)
    text = _OTHER.sub(other, _WEARER.sub(wearer, text))
    return " ".join(text.split())

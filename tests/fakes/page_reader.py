"""What a browser would find in a page, without a browser."""

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser

_VOID = {"meta", "br", "img", "link", "input", "hr"}


@dataclass
class Element:
    """An element with its attributes, its text and what is in it."""

    tag: str
    attributes: dict
    parent: "Element | None" = None
    children: list["Element"] = field(default_factory=list)
    parts: list[str] = field(default_factory=list)

    @property
    def text(self):
        """The text in it and in all that is in it, with single spaces."""
        return re.sub(r"\s+", " ", "".join(self._texts())).strip()

    def all(self, tag=None, **attributes):
        """Everything in it of a tag with these attributes; a class is one of several."""
        found = []
        for child in self.children:
            names = child.attributes
            if (tag is None or child.tag == tag) and all(
                value in names.get("class", "").split()
                if name == "class_"
                else names.get(name.replace("_", "-")) == value
                for name, value in attributes.items()
            ):
                found.append(child)
            found += child.all(tag, **attributes)
        return found

    def within(self, tag):
        """Whether it lies in an element of a tag."""
        above = self.parent
        while above is not None and above.tag != tag:
            above = above.parent
        return above is not None

    def _texts(self):
        order = iter(self.children)
        for part in self.parts:
            if part is None:
                yield from next(order)._texts()
            else:
                yield part


class Page(Element):
    """The root of a page."""

    def __init__(self, text):
        super().__init__("page", {})
        parser = _Parser(self)
        parser.feed(text)
        parser.close()
        self.source = text


class _Parser(HTMLParser):
    def __init__(self, root):
        super().__init__(convert_charrefs=True)
        self._open = [root]

    def handle_starttag(self, tag, attributes):
        element = Element(tag, {name: value or "" for name, value in attributes}, self._open[-1])
        self._open[-1].children.append(element)
        self._open[-1].parts.append(None)
        if tag not in _VOID:
            self._open.append(element)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in _VOID:
            self._open.pop()

    def handle_endtag(self, tag):
        assert self._open[-1].tag == tag, f"</{tag}> closes <{self._open[-1].tag}>"
        self._open.pop()

    def handle_data(self, data):
        self._open[-1].parts.append(data)

"""A page read as a browser reads it: whether its tags close, what its forms ask, and what its text says."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "link", "input", "br", "img", "hr"}


@dataclass(slots=True)
class Control:
    """A field or a button of a form."""

    kind: str
    id: str | None
    name: str | None
    value: str


@dataclass(slots=True)
class FormSeen:
    """A form of a page."""

    method: str
    action: str
    controls: list[Control] = field(default_factory=list)

    def filled(self, **given: str) -> dict[str, str]:
        """What a browser sends when these fields are filled in."""
        known = {one.name: one.value for one in self.controls if one.name}
        assert given.keys() <= known.keys(), (given, known)
        return known | given


class Page(HTMLParser):
    """A page, parsed. `faults` lists what is wrong with it."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.faults: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.forms: list[FormSeen] = []
        self.links: list[str] = []
        self.text = ""
        self._open: list[str] = []
        self._captions = 0
        self.feed(text)
        self.close()
        self._judge()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if len(given) != len(attrs):
            self.faults.append(f"an attribute twice on {tag}")
        self.tags.append((tag, given))
        if tag == "form":
            self.forms.append(FormSeen(given.get("method") or "get", given.get("action") or ""))
        if tag in ("input", "select", "button", "textarea") and self.forms:
            kind = (given.get("type") or "text") if tag == "input" else tag
            self.forms[-1].controls.append(Control(kind, given.get("id"), given.get("name"), given.get("value") or ""))
        if tag == "a" and given.get("href"):
            self.links.append(given["href"] or "")
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open.pop() != tag:
            self.faults.append(f"</{tag}> closes nothing")

    def handle_data(self, data: str) -> None:
        self.text += data

    def form(self, action: str) -> FormSeen:
        """The form with this action."""
        (found,) = [one for one in self.forms if one.action == action]
        return found

    def _judge(self) -> None:
        names = [tag for tag, _ in self.tags]
        self.faults += [f"<{tag}> is never closed" for tag in self._open]
        self.faults += [f"no <{tag}>" for tag in ("html", "title", "main", "h1") if names.count(tag) != 1]
        self.faults += [f"a <{tag}>" for tag in ("script", "style", "iframe", "object", "base") if tag in names]
        if dict(self.tags)["html"].get("lang") != "en":
            self.faults.append("no language")
        if names.count("table") != names.count("caption"):
            self.faults.append("a table without a caption")
        if [1 for tag, given in self.tags if tag == "th" and given.get("scope") not in ("row", "col")]:
            self.faults.append("a heading of a table without a scope")
        ids = [given["id"] for _, given in self.tags if given.get("id")]
        self.faults += [f"the id {one} twice" for one in set(ids) if ids.count(one) > 1]
        labelled = {given.get("for") for tag, given in self.tags if tag == "label"}
        asked = [one for form in self.forms for one in form.controls if one.kind not in ("hidden", "button")]
        self.faults += [f"no label for {one.name}" for one in asked if one.id is None or one.id not in labelled]
        for tag, given in self.tags:
            self.faults += [f"{name} on {tag}" for name in given if name.startswith("on") or name == "style"]
            for name in ("src", "href", "action"):
                value = given.get(name) or ""
                if value and not value.startswith(("/", "#")) and value != "data:,":
                    self.faults.append(f"{name}={value}")
                if value.startswith("//"):
                    self.faults.append(f"{name}={value}")

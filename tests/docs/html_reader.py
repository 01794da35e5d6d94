"""What a browser would make of a built page: elements, references, code."""

from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path


@dataclass
class Page(HTMLParser):
    """A page's elements, headings and shell blocks, gathered while it is read."""

    elements: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    headings: list[str] = field(default_factory=list)
    shell_blocks: list[str] = field(default_factory=list)
    _shell_depth: int = 0

    def __post_init__(self) -> None:
        """Set up the reader that HTMLParser is."""
        super().__init__(convert_charrefs=True)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the element; a shell block ends with its `div`."""
        found = {name: value or "" for name, value in attrs}
        self.elements.append((tag, found))
        if tag == "h2":
            self.headings.append(found.get("id", ""))
        if tag == "div" and (self._shell_depth or "language-sh" in found.get("class", "")):
            if not self._shell_depth:
                self.shell_blocks.append("")
            self._shell_depth += 1

    def handle_endtag(self, tag: str) -> None:
        """Leave a shell block."""
        if tag == "div" and self._shell_depth:
            self._shell_depth -= 1

    def handle_data(self, data: str) -> None:
        """Gather the text of a shell block."""
        if self._shell_depth:
            self.shell_blocks[-1] += data

    def references(self) -> list[str]:
        """Return every address that the page names in an attribute a browser would follow."""
        names = ("src", "href", "srcset", "action", "data", "poster", "formaction")
        return [found[name] for _, found in self.elements for name in names if name in found]

    def count(self, *tags: str) -> int:
        """Return how many elements have one of the tags."""
        return sum(tag in tags for tag, _ in self.elements)


def read_page(path: Path) -> Page:
    """Return the page, read as a browser reads it."""
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    page.close()
    return page

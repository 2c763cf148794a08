"""Checks the built site: every link leads to a file and an anchor that exist, and nothing is loaded from elsewhere."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from phi_assets.project import PROJECT

SITE = PROJECT / "site"
# What a browser fetches by itself; a link that a reader follows is not among them.
LOADED = {("script", "src"), ("img", "src"), ("link", "href"), ("iframe", "src"), ("source", "src"), ("video", "src")}
LINKS_ONLY = {"canonical", "next", "prev", "edit"}
# Elements for which the theme's script downloads a library.
DOWNLOADS = {"mermaid", "pyodide", "glightbox"}


@dataclass
class Page(HTMLParser):
    """The anchors of a page, what it links to, and what a browser loads with it."""

    anchors: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    loaded: list[str] = field(default_factory=list)
    downloads: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if "id" in given:
            self.anchors.add(given["id"])
        self.downloads |= DOWNLOADS & set(given.get("class", "").split())
        if tag == "a":
            if "name" in given:
                self.anchors.add(given["name"])
            if "href" in given:
                self.links.append(given["href"])
        if tag == "link" and given.get("rel") in LINKS_ONLY:
            return
        self.loaded += [value for name, value in given.items() if (tag, name) in LOADED]


def problems(site: Path) -> list[str]:
    """Return one line for each link that leads nowhere, and for each address that a page loads from elsewhere."""
    pages = {path: read(path) for path in sorted(site.rglob("*.html"))}
    if not pages:
        return [f"{site} has no pages; run `make docs`"]
    found = [problem for path, page in pages.items() for problem in _of_page(site, path, page, pages)]
    return [*found, *_of_styles(site)]


def read(path: Path) -> Page:
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page


def _of_page(site: Path, path: Path, page: Page, pages: dict[Path, Page]) -> Iterator[str]:
    shown = path.relative_to(site)
    if shown.name == "404.html":  # its addresses are those of a server's root
        return
    for address in page.loaded:
        if urlsplit(address).scheme not in ("", "data") or urlsplit(address).netloc:
            yield f"{shown}: loads {address}"
    yield from (f"{shown}: loads the library of {name}" for name in sorted(page.downloads))
    for address in {*page.links, *page.loaded}:
        parts = urlsplit(address)
        if parts.scheme or parts.netloc:
            continue
        target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
        if target.is_dir():
            target /= "index.html"
        if not target.is_file():
            yield f"{shown}: {address} leads to no file"
        elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
            yield f"{shown}: {address} leads to no anchor"


def _of_styles(site: Path) -> Iterator[str]:
    for path in sorted(site.rglob("*.css")):
        text = path.read_text(encoding="utf-8")
        for start in ("url(http", 'url("http', "url('http", "url(//", "@import"):
            if start in text:
                yield f"{path.relative_to(site)}: loads from elsewhere by {start}"

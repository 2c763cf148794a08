"""The sources of the site: every page is in the navigation, every link leads to a file; the check of the built site."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from docs_generator import site_check
from docs_generator.__main__ import PAGES
from docs_generator.project_pages import FILES, project_page
from phi_assets.project import PROJECT

DOCS = PROJECT / "docs"
SITE = tomllib.loads((PROJECT / "zensical.toml").read_text(encoding="utf-8"))["project"]
WRITTEN = sorted(path for path in DOCS.rglob("*.md") if path.relative_to(DOCS).as_posix() not in PAGES)
OF_THE_REPOSITORY = [PROJECT / "README.md", PROJECT / "azure_emulator/README.md", *(PROJECT / name for name in FILES)]
LINK = re.compile(r"\]\((?!https?://|mailto:)([^)\s]+)\)")


def pages_of(nav: Any) -> Iterator[str]:
    """Yield the pages of a navigation, in its order."""
    if isinstance(nav, str):
        yield nav
    for each in nav.values() if isinstance(nav, dict) else nav if isinstance(nav, list) else ():
        yield from pages_of(each)


def test_the_navigation_has_every_page_once():
    listed = list(pages_of(SITE["nav"]))

    assert len(listed) == len(set(listed))
    assert set(listed) == {path.relative_to(DOCS).as_posix() for path in WRITTEN} | set(PAGES)


def test_every_decision_is_in_the_index():
    index = (DOCS / "decisions/index.md").read_text(encoding="utf-8")
    titles = {
        path.name: path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
        for path in (DOCS / "decisions").glob("0*.md")
    }

    assert dict(re.findall(r"^- \[(.*)\]\((.*)\)$", index, re.M)) == {title: name for name, title in titles.items()}


@pytest.mark.parametrize("path", [*WRITTEN, *OF_THE_REPOSITORY], ids=lambda path: str(path.relative_to(PROJECT)))
def test_what_a_page_links_to_is_there(path: Path):
    """A link to a generated page counts as one that leads somewhere; anchors are checked by `make docs`."""
    missing = []
    for link in LINK.findall(path.read_text(encoding="utf-8")):
        target = (path.parent / link.partition("#")[0]).resolve() if not link.startswith("#") else path
        generated = target.is_relative_to(DOCS) and target.relative_to(DOCS).as_posix() in PAGES
        if not target.exists() and not generated:
            missing.append(link)

    assert missing == []


def test_no_other_file_names_a_page_that_is_gone():
    """Comments, docstrings and messages name pages by their path."""
    files = [*PROJECT.glob("phi_assets/**/*.py"), *PROJECT.glob("infra/**/*.bicep"), *PROJECT.glob("*.md")]
    named = {(path, name) for path in files for name in re.findall(r"docs/[\w/-]+\.md", path.read_text("utf-8"))}

    assert [(str(path), name) for path, name in named if not (PROJECT / name).is_file()] == []


def test_a_page_of_the_repository_links_to_the_sites_pages():
    for name in FILES:
        links = LINK.findall(project_page(name))
        assert [link for link in links if not (DOCS / "project" / link).resolve().is_relative_to(DOCS)] == []


def test_the_check_finds_what_is_loaded_from_elsewhere_and_what_leads_nowhere(tmp_path: Path):
    (tmp_path / "index.html").write_text(
        '<h1 id="top"></h1><a href="other.html#there"></a><a href="https://example.org"></a><a href="#top"></a>'
        '<pre class="mermaid"></pre>'
        '<script src="https://cdn.example.org/a.js"></script><img src="gone.png"><link rel="stylesheet" href="a.css">'
    )
    (tmp_path / "other.html").write_text('<a href="index.html#nowhere"></a><a href="gone.html"></a>')
    (tmp_path / "a.css").write_text("@font-face { src: url(https://fonts.example.org/f) }")

    assert sorted(site_check.problems(tmp_path)) == [
        "a.css: loads from elsewhere by url(http",
        "index.html: gone.png leads to no file",
        "index.html: loads https://cdn.example.org/a.js",
        "index.html: loads the library of mermaid",
        "index.html: other.html#there leads to no anchor",
        "other.html: gone.html leads to no file",
        "other.html: index.html#nowhere leads to no anchor",
    ]


def test_a_site_that_was_not_built_is_a_problem(tmp_path: Path):
    assert len(site_check.problems(tmp_path)) == 1


def test_the_site_downloads_no_font():
    assert SITE["theme"]["font"] is False

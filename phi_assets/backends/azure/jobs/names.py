"""Names of jobs: what a job computes decides its name, so that it can be found again and is never paid for twice."""

import hashlib
from collections.abc import Iterable

DIGITS = 16


def recipe(*parts: str) -> str:
    """SHA-256 over all that decides a job's result, in the order given."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def job_name(kind: str, recipe: str, attempt: int) -> str:
    """`phi-<kind>-<16 digits>-<attempt>`: attempts count from 1."""
    return f"phi-{kind}-{recipe[:DIGITS]}-{attempt}"


def files_digest(contents: Iterable[bytes]) -> str:
    """SHA-256 over the contents of several files, an absent one being empty."""
    digest = hashlib.sha256()
    for content in contents:
        digest.update(hashlib.sha256(content).digest())
    return digest.hexdigest()

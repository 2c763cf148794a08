"""Counts and times in Prometheus' text format (version 0.0.4)."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter

SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
CONTENT_TYPE = "text/plain; version=0.0.4"


class Histogram:
    """How many times were at most as long as each bound."""

    def __init__(self) -> None:
        self._counts = [0] * (len(SECONDS) + 1)
        self._sum = 0.0

    def add(self, seconds: float) -> None:
        """Count one time."""
        self._counts[bisect_left(SECONDS, seconds)] += 1
        self._sum += seconds

    def lines(self, name: str) -> list[str]:
        """The samples of the histogram."""
        found, total = [f"# TYPE {name} histogram"], 0
        for bound, count in zip([*map(str, SECONDS), "+Inf"], self._counts, strict=True):
            total += count
            found.append(f'{name}_bucket{{le="{bound}"}} {total}')
        return [*found, f"{name}_sum {self._sum:.6f}", f"{name}_count {total}"]


class Metrics:
    """What a server counts since it started. Only the server's event loop changes it."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, int]] = Counter()
        self.tokens: Counter[str] = Counter()
        self.request_seconds = Histogram()
        self.first_token_seconds = Histogram()

    def request(self, path: str, status: int, seconds: float, usage: dict) -> None:
        """Count a request that has ended. An unknown path is counted as `other`: clients choose paths."""
        self.requests[path, status] += 1
        self.request_seconds.add(seconds)
        self.tokens["prompt"] += usage.get("prompt_tokens", 0)
        self.tokens["cached_prompt"] += usage.get("prompt_tokens_details", {}).get("cached_tokens", 0)
        self.tokens["completion"] += usage.get("completion_tokens", 0)

    def text(self, gauges: dict[str, float]) -> str:
        """All samples."""
        lines = ["# TYPE phi_requests_total counter"]
        for (path, status), count in sorted(self.requests.items()):
            lines.append(f'phi_requests_total{{path="{path}",status="{status}"}} {count}')
        lines.append("# TYPE phi_tokens_total counter")
        for kind in ("prompt", "cached_prompt", "completion"):
            lines.append(f'phi_tokens_total{{kind="{kind}"}} {self.tokens[kind]}')
        for name, value in gauges.items():
            lines += [f"# TYPE {name} gauge", f"{name} {value:g}"]
        lines += self.request_seconds.lines("phi_request_seconds")
        lines += self.first_token_seconds.lines("phi_first_token_seconds")
        return "\n".join(lines) + "\n"

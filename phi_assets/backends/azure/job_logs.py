"""What a job prints, as it prints it: Azure ML appends it to a blob, and Pipes may have told it already."""

from collections import Counter, deque
from collections.abc import Callable, Iterator

from phi_assets.backends.azure.blob import WorkspaceBlobs
from phi_assets.backends.ports import Log

CONTAINER = "azureml"  # of workspaceartifactstore
LAST = 20


def log_path(job: str) -> str:
    return f"ExperimentRun/dcid.{job}/user_logs/std_log.txt"


class Said:
    """Lines that come by two ways and are said once, by whichever comes first."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.by_way: dict[str, Counter[str]] = {}
        self.said: Counter[str] = Counter()

    def line(self, way: str, text: str) -> None:
        heard = self.by_way.setdefault(way, Counter())
        heard[text] += 1
        if heard[text] > self.said[text]:
            self.said[text] += 1
            self.log(text)


class Tail:
    """The end of a growing text on Blob."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self.read = read
        self.at = 0
        self.rest = b""

    def lines(self, *, over: bool = False) -> Iterator[str]:
        """The whole lines that were added since; with `over` also a last one without its end."""
        found = self.read(self.at)
        self.at += len(found)
        *whole, self.rest = (self.rest + found).split(b"\n")
        if over and self.rest:
            whole.append(self.rest)
            self.rest = b""
        for line in whole:
            text = line.decode(errors="replace").rstrip("\r")
            yield text.rpartition("\r")[2]  # what a progress bar showed last


class JobLog:
    """A job's standard output and error in the run's log."""

    def __init__(self, blobs: WorkspaceBlobs, job: str, said: Said) -> None:
        self.said = said
        self.tail = Tail(lambda start: blobs.peek(log_path(job), start=start, container=CONTAINER))
        self.last: deque[str] = deque(maxlen=LAST)

    def follow(self, *, over: bool = False) -> None:
        """Say what was added since. What Azure does not hand out now is said the next time."""
        from azure.core.exceptions import AzureError

        try:
            for line in self.tail.lines(over=over):
                if line.strip():
                    self.last.append(line)
                    self.said.line("stdout", line)
        except AzureError:
            pass

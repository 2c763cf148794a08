"""What a job prints, as it prints it: Azure ML appends it to a blob, and Pipes may have told it already."""

from collections import Counter, deque
from collections.abc import Callable, Iterator

from phi_assets.backends.azure.client.retry import with_retries
from phi_assets.backends.azure.storage.blob import WorkspaceBlobs
from phi_assets.errors import BackendError
from phi_assets.ports.base import Log

CONTAINER = "azureml"  # of workspaceartifactstore
LAST = 20
OVERLAP = 64  # bytes that are read again, to know that the text is still the same one
LAST_MINUTES = 3.0  # patience with what is read once more and never again
MESSAGE = '{"__dagster_pipes_version"'  # how Dagster Pipes begins one


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
    """The end of a growing text on Blob. One that began anew, on another node, is read from its beginning again."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self.read = read
        self.at = 0
        self.rest = b""
        self.known = b""  # the bytes before `at`

    def lines(self, *, over: bool = False) -> Iterator[str]:
        """The whole lines that were added since; with `over` also a last one without its end."""
        added = self._added()
        *whole, self.rest = (self.rest + added).split(b"\n")
        if over and self.rest:
            whole.append(self.rest)
            self.rest = b""
        for line in whole:
            text = line.decode(errors="replace").rstrip("\r")
            yield text.rpartition("\r")[2]  # what a progress bar showed last

    def new(self, what: str, log: Log, *, over: bool) -> list[str]:
        """The lines that were added since. What Azure does not hand out now comes the next time; there is none when the
        job is `over`, so that it is asked with patience then.
        """
        from azure.core.exceptions import AzureError

        try:
            if not over:
                return list(self.lines())
            return with_retries(what, lambda: list(self.lines(over=True)), log, LAST_MINUTES)
        except (AzureError, BackendError) as e:
            if over:
                log(f"{what}: the last of them did not come: {e}")
            return []

    def _added(self) -> bytes:
        found = self.read(self.at - len(self.known))
        if not found.startswith(self.known):
            self.at, self.rest, self.known = 0, b"", b""
            found = self.read(0)
        added = found[len(self.known) :]
        self.at += len(added)
        self.known = found[-OVERLAP:]
        return added


class JobLog:
    """A job's standard output and error in the run's log.

    `message` takes a line of it that is one of Pipes, and returns whether it was: a job that may not write to storage
    tells them so.
    """

    def __init__(
        self, blobs: WorkspaceBlobs, job: str, said: Said, message: Callable[[str], bool] | None = None
    ) -> None:
        self.job, self.said, self.message = job, said, message
        self.tail = Tail(lambda start: blobs.peek(log_path(job), start=start, container=CONTAINER))
        self.last: deque[str] = deque(maxlen=LAST)

    def follow(self, *, over: bool = False) -> None:
        """Say what was added since."""
        for line in self.tail.new(f"reading the log of job {self.job}", self.said.log, over=over):
            text = self._without_message(line)
            if text.strip():
                self.last.append(text)
                self.said.line("stdout", text)

    def _without_message(self, line: str) -> str:
        # Behind what standard error had not ended yet.
        text, mark, rest = line.partition(MESSAGE)
        return text if mark and self.message and self.message(mark + rest) else line

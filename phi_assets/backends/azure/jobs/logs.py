"""Streams a job's output into the run's log: Azure ML appends it to a blob, and Pipes may have reported a line
first.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterator

from phi_assets.backends.azure.client.retry import with_retries
from phi_assets.backends.azure.storage.blob import WorkspaceBlobs
from phi_assets.errors import BackendError
from phi_assets.plain_text import plain_text
from phi_assets.ports.base import Log

CONTAINER = "azureml"  # of workspaceartifactstore
LAST = 20
OVERLAP = 64  # bytes that are read again, to detect that the blob was restarted
LAST_MINUTES = 3.0  # retries of the last read, after which nothing is read again
MESSAGE = '{"__dagster_pipes_version"'  # how Dagster Pipes begins one


def log_path(job: str) -> str:
    return f"ExperimentRun/dcid.{job}/user_logs/std_log.txt"


class LineLog:
    """Logs lines that arrive over two channels once each, when the first channel delivers them."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.received: dict[str, Counter[str]] = {}
        self.logged: Counter[str] = Counter()

    def line(self, channel: str, text: str) -> None:
        received = self.received.setdefault(channel, Counter())
        received[text] += 1
        if received[text] > self.logged[text]:
            self.logged[text] += 1
            self.log(plain_text(text, lines=True))


class Tail:
    """Reads what is appended to a text blob. A blob that was restarted, by a job on a new node, is read from its
    start.
    """

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self.read = read
        self.offset = 0
        self.partial = b""  # a last line without its newline
        self.known = b""  # the bytes before `offset`

    def lines(self, *, over: bool = False) -> Iterator[str]:
        """The complete lines that were added since; with `over` also a last line without a newline."""
        added = self._added()
        *complete, self.partial = (self.partial + added).split(b"\n")
        if over and self.partial:
            complete.append(self.partial)
            self.partial = b""
        for line in complete:
            text = line.decode(errors="replace").rstrip("\r")
            yield text.rpartition("\r")[2]  # the last state of a progress bar

    def new(self, what: str, log: Log, *, over: bool) -> list[str]:
        """The lines that were added since. A failed read is skipped, because the next call reads the same lines; once
        the
        job is `over` there is no next call, so that the read is retried.
        """
        from azure.core.exceptions import AzureError

        try:
            if not over:
                return list(self.lines())
            return with_retries(what, lambda: list(self.lines(over=True)), log, LAST_MINUTES)
        except (AzureError, BackendError) as e:
            if over:
                log(f"{what}: the last lines could not be read: {e}")
            return []

    def _added(self) -> bytes:
        data = self.read(self.offset - len(self.known))
        if not data.startswith(self.known):
            self.offset, self.partial, self.known = 0, b"", b""
            data = self.read(0)
        added = data[len(self.known) :]
        self.offset += len(added)
        self.known = data[-OVERLAP:]
        return added


class JobLog:
    """A job's standard output and error, copied to the run's log.

    `message` handles a Pipes message among the lines and returns whether it was one: a job that may not write to
    storage prints its messages.
    """

    def __init__(
        self, blobs: WorkspaceBlobs, job: str, line_log: LineLog, message: Callable[[str], bool] | None = None
    ) -> None:
        self.job, self.line_log, self.message = job, line_log, message
        self.tail = Tail(lambda start: blobs.peek(log_path(job), start=start, container=CONTAINER))
        self.last: deque[str] = deque(maxlen=LAST)

    def follow(self, *, over: bool = False) -> None:
        """Log the lines added since the last call; `over`: the job has ended."""
        for line in self.tail.new(f"reading the log of job {self.job}", self.line_log.log, over=over):
            text = self._without_message(line)
            if text.strip():
                self.last.append(text)
                self.line_log.line("stdout", text)

    def _without_message(self, line: str) -> str:
        # It may follow an unfinished line of standard error.
        text, start, rest = line.partition(MESSAGE)
        return text if start and self.message and self.message(start + rest) else line

"""Error responses in OpenAI's shape; each message says what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

from starlette.responses import JSONResponse

TYPES = {
    401: "authentication_error",
    404: "not_found_error",
    408: "timeout_error",
    429: "rate_limit_error",
    500: "server_error",
    503: "service_unavailable_error",
}


class Refusal(Exception):
    """A request that is refused: `status` is the HTTP status, `message` says what to do."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.param = status, message, code, param
        self.headers = dict(headers or {})

    def body(self) -> dict[str, dict[str, str | None]]:
        """The JSON body: `{"error": {message, type, param, code}}`."""
        kind = TYPES.get(self.status, "invalid_request_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}

    def response(self) -> JSONResponse:
        """The HTTP response."""
        return JSONResponse(self.body(), self.status, headers=self.headers)


def nearest(name: str, valid: Iterable[str]) -> str:
    """A hint with the valid name closest to a mistyped one, or all valid names."""
    names = sorted(valid)
    close = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"valid are {', '.join(names)}"

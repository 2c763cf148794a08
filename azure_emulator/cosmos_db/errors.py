"""Errors of Cosmos DB's data plane, in its own format."""

from __future__ import annotations

from azure_emulator.messages import Answer, AzureError

SUB_STATUS = "x-ms-substatus"
RETRY_AFTER_MS = "x-ms-retry-after-ms"
THROTTLED_MS = 10
_CODES = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    409: "Conflict",
    412: "PreconditionFailed",
    413: "RequestEntityTooLarge",
    429: "TooManyRequests",
    503: "ServiceUnavailable",
}


class CosmosError(AzureError):
    """An error response: the status, its code, a message, and the sub-status that tells the SDK more."""

    def __init__(self, status: int, message: str, sub_status: int = 0, headers: dict[str, str] | None = None) -> None:
        more = {SUB_STATUS: str(sub_status)} if sub_status else {}
        super().__init__(status, _CODES[status], message, headers={**(headers or {}), **more})

    def answer(self) -> Answer:
        return Answer({"code": self.code, "message": self.message}, self.status, self.headers)


def item_missing() -> CosmosError:
    return CosmosError(404, "Entity with the specified id does not exist in the system.")


def owner_missing() -> CosmosError:
    return CosmosError(404, "Owner resource does not exist", 1003)


def throttled() -> CosmosError:
    return CosmosError(
        429,
        "The request rate is large. More Request Units may be needed, so no changes were made.",
        3200,
        {RETRY_AFTER_MS: str(THROTTLED_MS)},
    )


def unavailable() -> CosmosError:
    return CosmosError(503, "Service is currently unavailable.", 20003)

"""Everything that can go wrong with a call, as one tree and one table.

A handler raises one of these classes; the server's interceptor turns it into a
`google.rpc.Status` (AIP-193), the client turns that status back into the same
class, and the gateway derives HTTP from it. What is not in the tree is a bug:
it becomes `Internal`, and its text stays in the log.
"""

from typing import ClassVar, cast

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2
from grpc import StatusCode
from grpc_status import rpc_status

DOMAIN = "polyphony"


class ServeError(Exception):
    """A failure that the caller is told about.

    Args:
        message: What is wrong and what to do about it, for the caller to read.
        field: The request field at fault, such as `messages[0].role`.
        retry_after: Seconds after which the same call may go through.
    """

    code: ClassVar[StatusCode] = StatusCode.INTERNAL
    http: ClassVar[int] = 500

    def __init__(self, message: str, *, field: str = "", retry_after: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.retry_after = retry_after


class InvalidArgument(ServeError):
    """A field of the request has a value that is never right."""

    code, http = StatusCode.INVALID_ARGUMENT, 400


class TooLarge(InvalidArgument):
    """A field exceeds a bound on bytes, pixels, seconds, frames, tokens or items."""

    http = 413


class UnsupportedMedia(InvalidArgument):
    """The bytes are not of a kind that can be decoded."""

    http = 415


class Unauthenticated(ServeError):
    """The API key is missing or unknown."""

    code, http = StatusCode.UNAUTHENTICATED, 401


class PermissionDenied(ServeError):
    """The API key's owner may not do this."""

    code, http = StatusCode.PERMISSION_DENIED, 403


class NotFound(ServeError):
    """A model, collection, file or reference does not exist for this tenant."""

    code, http = StatusCode.NOT_FOUND, 404


class AlreadyExists(ServeError):
    """Something of this name exists."""

    code, http = StatusCode.ALREADY_EXISTS, 409


class FailedPrecondition(ServeError):
    """Something else has to be done first."""

    code, http = StatusCode.FAILED_PRECONDITION, 400


class Overloaded(ServeError):
    """The queue is full, or could not be served before the deadline."""

    code, http = StatusCode.RESOURCE_EXHAUSTED, 429


class RateLimited(Overloaded):
    """The API key has used up its allowance."""


class OutOfMemory(Overloaded):
    """The engine has no memory for even this one item."""


class DeadlineExceeded(ServeError):
    """The deadline passed first."""

    code, http = StatusCode.DEADLINE_EXCEEDED, 504


class Cancelled(ServeError):
    """The caller went away."""

    code, http = StatusCode.CANCELLED, 499


class Unavailable(ServeError):
    """The service or its engine is not there now; trying again is right."""

    code, http = StatusCode.UNAVAILABLE, 503


class Unreachable(Unavailable):
    """No process of the service can be reached."""


class EngineCrashed(Unavailable):
    """The engine behind a model has died."""


class Unimplemented(ServeError):
    """This profile has no model that can do it."""

    code, http = StatusCode.UNIMPLEMENTED, 501


class Internal(ServeError):
    """A bug. The text says nothing; the log has the rest."""

    def __init__(self, message: str = "internal error", *, field: str = "", retry_after: float | None = None) -> None:
        super().__init__(message, field=field, retry_after=retry_after)


# The table. A reason names a class exactly; a code alone names the class to
# fall back on, for a peer that sends no ErrorInfo.
_CLASSES: tuple[type[ServeError], ...] = (
    InvalidArgument,
    Unauthenticated,
    PermissionDenied,
    NotFound,
    AlreadyExists,
    FailedPrecondition,
    Overloaded,
    DeadlineExceeded,
    Cancelled,
    Unavailable,
    Unimplemented,
    Internal,
    TooLarge,
    UnsupportedMedia,
    RateLimited,
    OutOfMemory,
    EngineCrashed,
    Unreachable,
)
_BY_REASON = {cls.__name__: cls for cls in _CLASSES}
_BY_CODE = {cls.code: cls for cls in reversed(_CLASSES)}


def reason(error: ServeError) -> str:
    """The error's name in ErrorInfo, logs and metrics: `INVALID_ARGUMENT`, `TOO_LARGE`."""
    name = type(error).__name__
    return "".join(f"_{c}" if c.isupper() else c.upper() for c in name).lstrip("_")


def by_reason(name: str) -> type[ServeError]:
    """The class that `reason` gave a name to; `Internal` for a name that is not ours."""
    return _BY_REASON.get(name.title().replace("_", ""), Internal)


def to_status(error: ServeError) -> status_pb2.Status:
    """The error as `google.rpc.Status` with ErrorInfo, and BadRequest and RetryInfo where they apply."""
    info = error_details_pb2.ErrorInfo(reason=reason(error), domain=DOMAIN)
    details: list[error_details_pb2.ErrorInfo | error_details_pb2.BadRequest | error_details_pb2.RetryInfo] = [info]
    if error.field:
        info.metadata["field"] = error.field
        violation = error_details_pb2.BadRequest.FieldViolation(field=error.field, description=error.message)
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    if error.retry_after is not None:
        delay = Duration()
        delay.FromNanoseconds(int(error.retry_after * 1e9))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    status = status_pb2.Status(code=error.code.value[0], message=error.message)
    for detail in details:
        packed = Any()
        packed.Pack(detail)
        status.details.append(packed)
    return status


def from_rpc(rpc: grpc.aio.AioRpcError) -> ServeError:
    """The error that a peer raised, or that gRPC itself met on the way there."""
    error = _of_transport(rpc)
    status = rpc_status.from_call(cast("grpc.Call", rpc))
    for detail in status.details if status else ():
        if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
            info = error_details_pb2.ErrorInfo()
            detail.Unpack(info)
            if info.domain == DOMAIN:
                message = rpc.details() or "the peer gave no reason"
                error = by_reason(info.reason)(message, field=info.metadata.get("field", ""))
        elif detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
            retry = error_details_pb2.RetryInfo()
            detail.Unpack(retry)
            error.retry_after = retry.retry_delay.ToNanoseconds() / 1e9
    return error


def _of_transport(rpc: grpc.aio.AioRpcError) -> ServeError:
    """What a status without our details says. Addresses and foreign exceptions' texts go no further."""
    details = rpc.details() or "the peer gave no reason"
    cls: type[ServeError] = _BY_CODE.get(rpc.code(), Internal)
    if cls is Overloaded and "larger than max" in details:
        return TooLarge("the message is larger than is accepted")
    if cls in (Unavailable, Cancelled):  # the peer's, not the caller's: it was stopping, and had not looked at it yet
        return Unreachable("the service cannot be reached now", retry_after=1.0)
    return Internal() if cls is Internal else cls(details)

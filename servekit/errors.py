"""The errors of all calls: one tree of classes, with their gRPC codes, HTTP statuses and reasons.

A handler raises one of these classes. The server's interceptor turns it into a `google.rpc.Status` (AIP-193), the
client turns that status back into the same class, and the gateway derives the HTTP response from it. Any other
exception is a bug: it becomes `Internal`, and its text is only logged.
"""

from typing import ClassVar, cast

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2
from grpc import StatusCode
from grpc_status import rpc_status

from servekit.echo import cut_bytes

DOMAIN = "polyphony"

# An error may repeat what its caller sent. Over gRPC its message is sent twice and percent-encoded once, in trailers
# that may have 8 KiB.
MAX_MESSAGE_BYTES = 1000
MAX_FIELD_BYTES = 200


class ServeError(Exception):
    """An error that is sent to the caller.

    Args:
        message: What must hold and what was given, for the caller to read; cut to `MAX_MESSAGE_BYTES`.
        field: The request field at fault, such as `messages[0].role`; cut to `MAX_FIELD_BYTES`.
        retry_after: The seconds after which a retry may succeed.
    """

    code: ClassVar[StatusCode] = StatusCode.INTERNAL
    http: ClassVar[int] = 500

    def __init__(self, message: str, *, field: str = "", retry_after: float | None = None) -> None:
        self.message = cut_bytes(message, MAX_MESSAGE_BYTES)
        super().__init__(self.message)
        self.field = cut_bytes(field, MAX_FIELD_BYTES)
        self.retry_after = retry_after


class InvalidArgument(ServeError):
    """A field of the request is invalid, whatever the state of the service."""

    code, http = StatusCode.INVALID_ARGUMENT, 400


class TooLarge(InvalidArgument):
    """A field exceeds a bound on bytes, pixels, seconds, frames, tokens or items."""

    http = 413


class UnsupportedMedia(InvalidArgument):
    """The bytes are in no format that can be decoded."""

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
    """The name is in use already."""

    code, http = StatusCode.ALREADY_EXISTS, 409


class FailedPrecondition(ServeError):
    """The state of the service, its files or its configuration does not allow the call."""

    code, http = StatusCode.FAILED_PRECONDITION, 400


class Overloaded(ServeError):
    """The queue is full, or the request could not be served before its deadline."""

    code, http = StatusCode.RESOURCE_EXHAUSTED, 429


class RateLimited(Overloaded):
    """The rate limit of the API key is exceeded."""


class OutOfMemory(Overloaded):
    """The engine has no memory for this item, even alone."""


class DeadlineExceeded(ServeError):
    """The deadline passed before the answer was complete."""

    code, http = StatusCode.DEADLINE_EXCEEDED, 504


class Timeout(DeadlineExceeded):
    """The caller sends its request too slowly."""

    http = 408


class Cancelled(ServeError):
    """The caller disconnected."""

    code, http = StatusCode.CANCELLED, 499


class Unavailable(ServeError):
    """The service or its engine is unavailable at the moment; the call may be retried."""

    code, http = StatusCode.UNAVAILABLE, 503


class Unreachable(Unavailable):
    """No process of the service can be reached."""


class EngineCrashed(Unavailable):
    """The engine of the model has crashed."""


class Unimplemented(ServeError):
    """The profile has no model for the task, or the feature is not supported."""

    code, http = StatusCode.UNIMPLEMENTED, 501


class Internal(ServeError):
    """A bug. The message gives no details, which are in the log."""

    def __init__(self, message: str = "internal error", *, field: str = "", retry_after: float | None = None) -> None:
        super().__init__(message, field=field, retry_after=retry_after)


# A reason identifies a class. A code identifies the first class that has it, for a peer that sends no ErrorInfo.
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
    Timeout,
    EngineCrashed,
    Unreachable,
)
# Errors whose messages quote what the caller sent, which stays out of the log.
_QUOTING = (InvalidArgument, NotFound, AlreadyExists, PermissionDenied)
_BY_REASON = {cls.__name__: cls for cls in _CLASSES}
_BY_CODE = {cls.code: cls for cls in reversed(_CLASSES)}


def reason(error: ServeError) -> str:
    """The error's name in ErrorInfo, logs and metrics: `INVALID_ARGUMENT`, `TOO_LARGE`."""
    name = type(error).__name__
    return "".join(f"_{c}" if c.isupper() else c.upper() for c in name).lstrip("_")


def log_text(error: ServeError) -> str:
    """The error as the log has it: its reason and field, and its message unless that may quote the request."""
    text = f"{reason(error)} ({error.field})" if error.field else reason(error)
    return text if isinstance(error, _QUOTING) else f"{text}: {error.message}"


def by_reason(name: str) -> type[ServeError]:
    """The class of a name that `reason` returned; `Internal` for an unknown name."""
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
    """The error that the peer raised, or that gRPC raised because the call did not reach it."""
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
    """The error of a status without ErrorInfo; a text that may have addresses or a foreign exception is dropped."""
    details = rpc.details() or "the peer gave no reason"
    cls: type[ServeError] = _BY_CODE.get(rpc.code(), Internal)
    if cls is Overloaded and "larger than max" in details:
        return TooLarge("the message exceeds the maximum size")
    if cls in (Unavailable, Cancelled):  # cancelled by the peer, which was shutting down and had not begun the call
        return Unreachable("the service cannot be reached now", retry_after=1.0)
    return Internal() if cls is Internal else cls(details)

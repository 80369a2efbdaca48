"""Requests and responses of `/v1/files`."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

MAX_EXPIRY_SECONDS = 100 * 366 * 86_400  # a century: later times do not fit every clock and database


class ExpiresAfter(Struct, forbid_unknown_fields=True, kw_only=True):
    """When a file expires: seconds after its upload."""

    seconds: Annotated[int, Meta(ge=1, le=MAX_EXPIRY_SECONDS)]
    anchor: Literal["created_at"] = "created_at"


class FileForm(Struct, forbid_unknown_fields=True, kw_only=True):
    """The form fields next to the `file` of an upload. Without `expires_after` the file does not expire."""

    purpose: Literal["assistants", "user_data", "vision", "batch", "evals", "fine-tune"] = "user_data"
    expires_after: ExpiresAfter | None = None


class FileAnswer(Struct):
    """A file; times in seconds since 1970."""

    id: str
    bytes: int
    created_at: int
    filename: str
    purpose: str
    expires_at: int | UnsetType = UNSET
    status: Literal["processed"] = "processed"
    object: Literal["file"] = "file"


class FileList(Struct):
    """Files, newest first."""

    data: list[FileAnswer]
    first_id: str | None = None
    last_id: str | None = None
    has_more: bool = False
    object: Literal["list"] = "list"


class Deleted(Struct):
    """The object that was deleted."""

    id: str
    object: str
    deleted: bool = True

"""Requests and responses of `/v1/vision`."""

from typing import Annotated

from msgspec import Meta, Struct

from gateway.schemas.media_text import MediaText


class ReadOptions(Struct, forbid_unknown_fields=True, kw_only=True):
    """The options of reading text: the query of a raw body, or the form fields next to `file`."""

    model: str = ""
    min_confidence: Annotated[float, Meta(ge=0, le=1)] = 0.0


class ReadRequest(ReadOptions, forbid_unknown_fields=True, kw_only=True):
    """A request for the text of an image: `image_url` is a data URL, an http(s) URL or a file id."""

    image_url: MediaText


class Box(Struct):
    """An axis-aligned rectangle, in pixels."""

    left: float
    top: float
    width: float
    height: float


class ReadLine(Struct):
    """One line of text; `corners` are the x and y of its outline, clockwise from the start of the text."""

    text: str
    confidence: float
    bounding_box: Box
    corners: list[tuple[float, float]]


class ReadAnswer(Struct):
    """The text of an image. `width` and `height` are of the image as displayed, in pixels."""

    text: str
    lines: list[ReadLine]
    width: int
    height: int
    model: str

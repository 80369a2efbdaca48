"""What `/v1/vision` takes and gives."""

from typing import Annotated

from msgspec import Meta, Struct


class ReadOptions(Struct, forbid_unknown_fields=True, kw_only=True):
    """The options of reading text: in the query beside a raw body, or beside a form's `file`."""

    model: str = ""
    min_confidence: Annotated[float, Meta(ge=0, le=1)] = 0.0


class ReadRequest(ReadOptions, forbid_unknown_fields=True, kw_only=True):
    """A request for the text of an image: `image_url` is a data URL, an http(s) URL or a file id."""

    image_url: str


class Box(Struct):
    """An upright rectangle, in pixels."""

    left: float
    top: float
    width: float
    height: float


class ReadLine(Struct):
    """One line of text; `corners` are x and y of its own outline, clockwise from where the text begins."""

    text: str
    confidence: float
    bounding_box: Box
    corners: list[tuple[float, float]]


class ReadAnswer(Struct):
    """What an image says. `width` and `height` are those of the upright image, in pixels."""

    text: str
    lines: list[ReadLine]
    width: int
    height: int
    model: str

"""Lists in pages, as OpenAI has them: `limit` rows, newest first, `after` the last row of the page before."""

from typing import Any

from starlette.datastructures import QueryParams

from servekit.echo import cut
from servekit.errors import InvalidArgument

PARAMETERS: list[dict[str, Any]] = [
    {"name": "limit", "in": "query", "schema": {"type": "integer", "minimum": 1}},
    {"name": "after", "in": "query", "schema": {"type": "string"}},
]


def read_limit(query: QueryParams, most: int) -> int:
    """The number of rows that a request asks for, `most` by default.

    Raises:
        InvalidArgument: It is not in [1, `most`].
    """
    text = query.get("limit", str(most))
    limit = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
    if not 1 <= limit <= most:
        raise InvalidArgument(f"limit must be in [1, {most}], got {cut(text)}", field="limit")
    return limit

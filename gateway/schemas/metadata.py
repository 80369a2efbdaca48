"""Metadata that callers attach to what they create, with OpenAI's limits."""

from typing import Annotated

from msgspec import Meta

Key = Annotated[str, Meta(max_length=64)]
Value = Annotated[str, Meta(max_length=512)]
Metadata = Annotated[dict[Key, Value], Meta(max_length=16)]

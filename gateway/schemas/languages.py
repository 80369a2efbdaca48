"""Languages in requests."""

from typing import Annotated

from msgspec import Meta

Language = Annotated[str, Meta(pattern="^([a-z]{2,3})?$", description="An ISO 639 code, such as `en`; empty for none.")]

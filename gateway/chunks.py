"""The chunks of a request body."""

import asyncio
from collections.abc import AsyncIterator, Sequence

PIECE_BYTES = 64 << 10  # that are parsed in 0.2 ms, or in 10 ms at worst


async def each(chunks: Sequence[bytes]) -> AsyncIterator[bytes]:
    """Yield chunks that are here already."""
    for chunk in chunks:
        yield chunk


async def chain(head: list[bytes], rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield chunks that are here already, each of which is freed then, and those that still arrive."""
    head.reverse()
    while head:
        yield head.pop()
    async for chunk in rest:
        yield chunk


async def pieces(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield chunks in pieces of at most `PIECE_BYTES`, between which the event loop does other work."""
    async for chunk in chunks:
        for start in range(0, len(chunk), PIECE_BYTES):
            yield chunk[start : start + PIECE_BYTES]
            await asyncio.sleep(0)

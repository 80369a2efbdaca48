"""The deletion of bytes that a crash left without a record."""

import asyncio
import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

from servekit.errors import ServeError

log = logging.getLogger(__name__)

INTERVAL_SECONDS = 3600.0


class Swept(Protocol):
    """A store that can be swept: see `BlobRecords.sweep`."""

    async def sweep(self, now: float) -> int:
        """Delete bytes that have no record at `now`, in seconds since 1970; return the number of blobs."""


class Sweeper:
    """Sweeps stores at intervals.

    Args:
        stores: The stores.
    """

    def __init__(self, stores: Sequence[Swept]) -> None:
        self._stores = stores
        self._sweeping: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to sweep every `INTERVAL_SECONDS`."""
        self._sweeping = asyncio.create_task(self._sweep_forever())

    async def stop(self) -> None:
        """Stop sweeping."""
        if self._sweeping is not None:
            self._sweeping.cancel()
            with suppress(asyncio.CancelledError):
                await self._sweeping

    async def _sweep_forever(self) -> None:
        while True:
            await asyncio.sleep(INTERVAL_SECONDS)  # first: at the start the database may not answer yet
            try:
                removed = sum([await store.sweep(time.time()) for store in self._stores])
            except ServeError as error:
                log.warning("bytes without a record could not be deleted: %s", error.message)
            except Exception:  # such as a missing privilege: later sweeps run all the same
                log.exception("bytes without a record could not be deleted")
            else:
                if removed:
                    log.info("deleted %d blobs that had no record", removed)

"""The files of vector stores: attached and detached, so that searches find what the records list.

Passages and records are in two databases. A change of a file is therefore recorded before its passages are written, and
ended after. No other gateway changes the file meanwhile, and a change whose gateway has died is ended by another: it is
completed if its passages are there, and otherwise abandoned.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

from gateway.clients import Clients
from gateway.pipelines.store_passages import count_passages, delete_passages, write_passages
from gateway.records import Records
from gateway.records.rows import FileChange, IndexedFile, fresh_id
from servekit.context import CancellationToken, RequestContext, enter
from servekit.errors import NotFound, ServeError, Unavailable

log = logging.getLogger(__name__)

LEASE_SECONDS = 15.0  # after which the change of a gateway that no longer extends it is ended by another
SETTLE_SECONDS = 1.0  # after a failed change, for retrieval to stop writing before the change is ended
WAIT_SECONDS = 20.0  # for another change of the same file; longer than the lease of one that was killed
POLL_SECONDS = 0.25
SWEEP_SECONDS = 30.0  # between two sweeps


class StoreFiles:
    """Attaches files to the vector stores of every tenant, and detaches them.

    Args:
        clients: The clients of the services.
        records: The records of vector stores and of their files.
    """

    def __init__(self, clients: Clients, records: Records) -> None:
        self._clients, self._records = clients, records

    async def attach(self, tenant: str, file: IndexedFile, passages: Sequence[str]) -> None:
        """Write the passages of a file to a vector store, in place of earlier ones, and record the file there.

        Raises:
            NotFound: The tenant has no such vector store.
            Unavailable: Another change of the file has not ended within `WAIT_SECONDS`, or this one took too long.
        """
        change = FileChange(fresh_id("change_"), file.store_id, file.file_id, file)
        async with self._changing(tenant, change):
            await write_passages(self._clients, change.id, file, passages)
            await self._records.finish_change(tenant, change)

    async def detach(self, tenant: str, store_id: str, file_id: str) -> None:
        """Delete the passages of a file from a vector store, and its record there; raises as `attach` does."""
        change = FileChange(fresh_id("change_"), store_id, file_id, None)
        async with self._changing(tenant, change):
            await self._end(tenant, change)

    async def sweep(self, tenant: str) -> int:
        """End the changes of gateways that have died, and those that failed; return how many ended."""
        ended = 0
        for change in await self._records.claim_changes(tenant, LEASE_SECONDS):
            try:
                await self._end(tenant, change)
                ended += 1
            except ServeError as error:
                log.warning("the change of file %s is not ended yet: %s", change.file_id, error.message)
                await self._records.extend_change(tenant, change, SETTLE_SECONDS)
        return ended

    async def sweep_all(self) -> None:
        """Sweep every tenant if the database answers."""
        if self._records.ready:
            for tenant in await self._records.tenants():
                enter(RequestContext(tenant, cancellation=CancellationToken(time.monotonic() + LEASE_SECONDS)))
                await self.sweep(tenant)

    async def _end(self, tenant: str, change: FileChange) -> None:
        """End a change: complete it if its passages are written or it is a detachment, or else abandon it."""
        try:
            if change.attached is None:
                await delete_passages(self._clients, change.store_id, change.file_id)
            if change.attached is None or await count_passages(self._clients, change):
                await self._records.finish_change(tenant, change)
                return
        except NotFound:  # the vector store is being deleted
            await self._records.abandon_change(tenant, change)
            raise
        await self._records.abandon_change(tenant, change)

    @asynccontextmanager
    async def _changing(self, tenant: str, change: FileChange) -> AsyncIterator[None]:
        """Hold a change, so that no other changes the same file; what runs inside is cancelled if the lease ends."""
        began = now = asyncio.get_running_loop().time()
        while not await self._records.begin_change(tenant, change, LEASE_SECONDS):
            if now > began + WAIT_SECONDS:
                raise Unavailable("the file is being attached or detached: try again", retry_after=WAIT_SECONDS)
            await self.sweep(tenant)
            await asyncio.sleep(POLL_SECONDS)
            now = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout_at(now + LEASE_SECONDS) as lease:
                extending = asyncio.create_task(self._extend(tenant, change, lease))
                try:
                    yield
                finally:
                    extending.cancel()
        except TimeoutError as error:
            raise Unavailable("the database did not answer while the file was attached or detached") from error
        except BaseException:
            with suppress(ServeError):
                await self._records.extend_change(tenant, change, SETTLE_SECONDS)
            raise

    async def _extend(self, tenant: str, change: FileChange, lease: asyncio.Timeout) -> None:
        """Extend the lease of a change again and again; a lease that cannot be extended ends."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(LEASE_SECONDS / 3)
            until = loop.time() + LEASE_SECONDS
            with suppress(ServeError, RuntimeError):  # the latter where the lease has just ended
                if await self._records.extend_change(tenant, change, LEASE_SECONDS):
                    lease.reschedule(until)

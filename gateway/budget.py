"""Budgets of bytes and sessions, which all requests of this process share."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from prometheus_client import Gauge

from gateway.settings import GatewaySettings
from servekit.errors import Overloaded
from servekit.ops.telemetry import Telemetry

WAIT_SECONDS = 5.0  # how long a body that has been received waits for room in memory
SMALL_BYTES = 64 << 10  # bodies up to this size are not counted: the number of connections bounds them


class Budget:
    """Bytes or live sessions that all requests share. A tenant may hold half of them, or a single body of any size.

    Args:
        limit: The maximum that may be held at the same time.
        gauge: The metric of what is held.
    """

    def __init__(self, limit: int, gauge: Gauge) -> None:
        self._limit = limit
        self._gauge = gauge
        self._held = 0
        self._held_by: dict[str, int] = {}
        self._freed = asyncio.Event()

    def try_acquire(self, tenant: str, size: int, share: float = 1.0) -> bool:
        """Acquire `size`, unless more than a share of the budget would be held then; return whether it was acquired."""
        limit, own = self._limit * share, self._held_by.get(tenant, 0)
        if self._held + size > limit or (own and own + size > limit / 2):
            return False
        self._set(tenant, size)
        return True

    async def acquire(self, tenant: str, size: int) -> None:
        """Acquire `size` once there is room.

        Raises:
            Overloaded: There was none within `WAIT_SECONDS`.
        """
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                while not self.try_acquire(tenant, size):
                    self._freed.clear()
                    await self._freed.wait()
        except TimeoutError:
            raise budget_exhausted() from None

    def release(self, tenant: str, size: int) -> None:
        """Release `size`, which was acquired before."""
        self._set(tenant, -size)
        self._freed.set()

    @asynccontextmanager
    async def held(self, tenant: str, size: int) -> AsyncIterator[None]:
        """Acquire bytes for the block, unless they are `SMALL_BYTES` or fewer; raises as `acquire` does."""
        if size <= SMALL_BYTES:
            yield
            return
        await self.acquire(tenant, size)
        try:
            yield
        finally:
            self.release(tenant, size)

    def _set(self, tenant: str, change: int) -> None:
        self._held += change
        self._gauge.set(self._held)
        self._held_by[tenant] = self._held_by.get(tenant, 0) + change
        if not self._held_by[tenant]:
            del self._held_by[tenant]


@dataclass(frozen=True, slots=True)
class BodyBudgets:
    """The budgets of request bodies in memory and on disk.

    Attributes:
        memory: The bytes in memory.
        disk: The bytes in temporary files.
        folder: The folder of the temporary files.
    """

    memory: Budget
    disk: Budget
    folder: Path

    @classmethod
    def build(cls, settings: GatewaySettings, telemetry: Telemetry) -> Self:
        """The budgets of the settings."""
        held = telemetry.body_bytes
        folder = settings.body_folder or settings.home / "data"
        return cls(
            Budget(settings.max_body_memory_bytes, held.labels("memory")),
            Budget(settings.max_body_disk_bytes, held.labels("disk")),
            folder,
        )


def budget_exhausted() -> Overloaded:
    """The error where a budget has no room."""
    return Overloaded("too many bytes of requests are being received or processed", retry_after=1.0)

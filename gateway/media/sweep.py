"""The deletion of expired media and of uploads that never ended."""

import asyncio
import logging
import time

from servekit.errors import ServeError
from servekit.media.objects import ObjectStore

log = logging.getLogger(__name__)


async def sweep_forever(store: ObjectStore, every_seconds: float) -> None:
    """Delete expired objects every `every_seconds`; a store that fails is tried again the next time."""
    while True:
        try:
            removed = await store.collect_garbage(time.time())
        except ServeError as error:
            log.warning("expired objects could not be deleted: %s", error.message)
        else:
            if removed:
                log.info("deleted %d expired objects", removed)
        await asyncio.sleep(every_seconds)

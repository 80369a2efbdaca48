"""What has expired is thrown away: media that nobody sent again, uploads that never ended."""

import asyncio
import logging
import time

from servekit.media.objects import ObjectStore
from servekit.rpc.errors import ServeError

log = logging.getLogger(__name__)


async def sweep_forever(store: ObjectStore, every_seconds: float) -> None:
    """Collect the store's garbage now and again; a store that does not answer is tried again next time."""
    while True:
        try:
            removed = await store.collect_garbage(time.time())
        except ServeError as error:
            log.warning("the object store could not be swept: %s", error.message)
        else:
            if removed:
                log.info("%d expired objects removed", removed)
        await asyncio.sleep(every_seconds)

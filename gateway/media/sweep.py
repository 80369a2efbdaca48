"""The deletion of what has expired, of uploads that never ended, and of bytes that no file refers to."""

import asyncio
import logging
import time

from gateway.media.files import Files
from servekit.errors import ServeError

log = logging.getLogger(__name__)


async def sweep_forever(files: Files, every_seconds: float) -> None:
    """Sweep every `every_seconds`; a sweep that fails is tried again the next time."""
    while True:
        try:
            removed = await files.sweep(time.time())
        except ServeError as error:
            log.warning("expired objects could not be deleted: %s", error.message)
        else:
            if removed:
                log.info("deleted %d expired objects", removed)
        await asyncio.sleep(every_seconds)

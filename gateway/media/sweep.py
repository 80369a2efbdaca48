"""The deletion of what has expired, of uploads that never ended, and of bytes that no file refers to."""

import asyncio
import logging
import time

from gateway.media.files import Files
from gateway.records import Records
from servekit.errors import ServeError

log = logging.getLogger(__name__)

RETRY_SECONDS = 5.0  # while the database does not answer


async def sweep_forever(files: Files, records: Records, every_seconds: float) -> None:
    """Sweep every `every_seconds`, or soon again while the database does not answer; a failed sweep is logged."""
    while True:
        try:
            removed = await files.sweep(time.time())
        except ServeError as error:
            log.warning("expired objects could not be deleted: %s", error.message)
        except Exception:  # such as a missing privilege, or a folder that cannot be read: later sweeps run all the same
            log.exception("expired objects could not be deleted")
        else:
            if removed:
                log.info("deleted %d expired objects", removed)
        await asyncio.sleep(min(every_seconds, RETRY_SECONDS) if records.ready is False else every_seconds)

"""The deletion of what has expired, of uploads that never ended, and of bytes that no file refers to."""

import asyncio
import logging
import time

from gateway.media.files import Files
from gateway.media.version_0_1 import import_records
from gateway.records import Records
from servekit.errors import ServeError
from servekit.media.objects import ObjectStore

log = logging.getLogger(__name__)

RETRY_SECONDS = 5.0  # while the database does not answer


async def sweep_forever(store: ObjectStore, records: Records, every_seconds: float) -> None:
    """Import the records of version 0.1, once, and sweep every `every_seconds`; what fails is tried again."""
    files, imports = Files(store, records), records.durable
    while True:
        try:
            if imports and records.ready:
                if imported := await import_records(store, records):
                    log.info("imported %d records of version 0.1", imported)
                imports = False
            removed = await files.sweep(time.time())
        except ServeError as error:
            log.warning("expired objects could not be deleted: %s", error.message)
        else:
            if removed:
                log.info("deleted %d expired objects", removed)
        await asyncio.sleep(min(every_seconds, RETRY_SECONDS) if records.ready is False else every_seconds)

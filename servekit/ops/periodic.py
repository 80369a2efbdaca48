"""Work that a process repeats in the background."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from servekit.errors import ServeError

log = logging.getLogger(__name__)

START_SECONDS = 5.0  # before the first run: the database is connected by then


async def repeat(work: Callable[[], Awaitable[None]], seconds: float, problem: str) -> None:
    """Run `work` every `seconds` until cancelled, first after at most `START_SECONDS`.

    An error of any kind is logged and does not end the repetition.

    Args:
        work: What to run.
        seconds: The interval in seconds.
        problem: What an error of `work` means, for the log.
    """
    await asyncio.sleep(min(seconds, START_SECONDS))
    while True:
        try:
            await work()
        except ServeError as error:
            log.warning("%s: %s", problem, error.message)
        except Exception:
            log.exception("%s", problem)
        await asyncio.sleep(seconds)

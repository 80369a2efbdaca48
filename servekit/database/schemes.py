"""The choice of an implementation by the scheme of a database URL."""

import pkgutil
from collections.abc import Mapping
from typing import Any

from servekit.errors import FailedPrecondition


def open_by_scheme(url: str, connections: int, openers: Mapping[str, str]) -> Any:
    """Call the opener of the URL's scheme with the URL and the number of connections, and return its result.

    Args:
        url: The URL of a database, such as `postgresql://user:password@host/database`.
        connections: The maximum number of connections to the database.
        openers: By scheme, the function to call as `module:name`. A module is imported only when it is chosen.

    Raises:
        FailedPrecondition: No opener has the URL's scheme.
    """
    scheme = url.partition(":")[0]
    if scheme not in openers:  # the URL is not shown: it may hold a password
        schemes = ", ".join(f"{name}:" for name in openers if name)
        raise FailedPrecondition(f"database_url must begin with one of {schemes}", field="database_url")
    return pkgutil.resolve_name(openers[scheme])(url, connections)

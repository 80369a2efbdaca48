"""The checks that keep web pages of other origins out of a gateway without API keys.

A browser on this machine can reach a loopback port, and sends requests there for any page that it shows. So where no
key is required, a request must name this host by a loopback name or an allowed one (`Host`, against DNS rebinding), and
must not come from a page of another origin (`Origin`, or `Sec-Fetch-Site` where a browser sends no `Origin`). JSON must
be declared as JSON, which such a page cannot do without a CORS preflight. Clients that are no browsers send neither
`Origin` nor `Sec-Fetch-Site`.
"""

import re
from collections.abc import Collection
from ipaddress import IPv4Address, IPv6Address

from starlette.datastructures import Headers

from servekit.echo import cut
from servekit.errors import PermissionDenied, UnsupportedMedia

_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9_][a-z0-9_.-]*)(:[0-9]{1,5})?")
_SCHEMES = ("http://", "https://")
_SAFE_METHODS = ("GET", "HEAD")
_JSON = "application/json"


def require_own_origin(headers: Headers, method: str, allowed_hosts: Collection[str]) -> None:
    """Refuse a request that a web page of another origin may have sent.

    Args:
        headers: The headers of the request, or of the handshake of a WebSocket.
        method: The HTTP method. A link of another page may be followed, which is a GET of a whole page.
        allowed_hosts: Names of this host, in lower case and without a port, in addition to loopback names.

    Raises:
        PermissionDenied: `Host` is not exactly one loopback or allowed name, or the page is of another origin.
    """
    given = headers.getlist("host")
    host = given[0].strip(" \t").lower() if len(given) == 1 else ""
    if not _is_own(host, allowed_hosts):
        raise PermissionDenied(
            "while no API keys are set, the Host header must be one loopback name or address, or a name of "
            f"POLYPHONY_GATEWAY_ALLOWED_HOSTS, got {_shown(given)}",
            field="host",
        )
    origins = headers.getlist("origin")
    if not all(_is_origin_of(host, origin.lower()) for origin in origins):
        raise PermissionDenied(
            f"while no API keys are set, the Origin header must be absent or that of this host, {cut(host)}, "
            f"got {_shown(origins)}: set POLYPHONY_GATEWAY_KEYS_FILE to serve pages of other origins",
            field="origin",
        )
    sites = headers.getlist("sec-fetch-site")
    if not (origins or {"none", "same-origin"}.issuperset(sites) or _is_followed_link(headers, method)):
        raise PermissionDenied(
            f"while no API keys are set, a page of another origin may not send requests, got Sec-Fetch-Site "
            f"{_shown(sites)}: set POLYPHONY_GATEWAY_KEYS_FILE to serve pages of other origins",
            field="sec-fetch-site",
        )


def require_json(headers: Headers) -> None:
    """Refuse a JSON body of another content type: those of HTML forms are sent to any origin without a preflight.

    Raises:
        UnsupportedMedia: The content type is not `application/json`.
    """
    given = headers.get("content-type", "")
    if given.partition(";")[0].strip().lower() != _JSON:
        raise UnsupportedMedia(
            f"while no API keys are set, the content-type of a JSON body must be {_JSON}, got {_shown([given])}: "
            f"send the header content-type: {_JSON}",
            field="content-type",
        )


def _is_own(host: str, allowed_hosts: Collection[str]) -> bool:
    """Whether a `Host` header in lower case is a loopback name or address, or an allowed one, with any port."""
    if not (matched := _HOST.fullmatch(host)):
        return False
    name = matched[1].removesuffix(".")
    return name == "localhost" or name.endswith(".localhost") or _is_loopback_address(name) or name in allowed_hosts


def _is_loopback_address(name: str) -> bool:
    try:
        if not name.startswith("["):
            return IPv4Address(name).is_loopback
        address = IPv6Address(name[1:-1])
    except ValueError:
        return False
    return (address.ipv4_mapped or address).is_loopback


def _is_origin_of(host: str, origin: str) -> bool:
    return any(origin == scheme + host for scheme in _SCHEMES)


def _is_followed_link(headers: Headers, method: str) -> bool:
    """Whether a browser opens the URL as a page of its own, not within a page of another origin."""
    return (
        method in _SAFE_METHODS
        and headers.get("sec-fetch-mode") == "navigate"
        and headers.get("sec-fetch-dest") == "document"
    )


def _shown(values: list[str]) -> str:
    return ", ".join(repr(cut(value)) for value in values[:2]) or "none"

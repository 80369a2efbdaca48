"""Downloads media from URLs, only from public addresses and those that the operator allows.

A host is resolved once, all its addresses must be allowed, and the connection goes to one of these addresses: a DNS
answer that changes between the check and the connection (DNS rebinding) has no effect.
"""

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import httpx

from gateway.budget import Budget, budget_exhausted
from servekit.context import current
from servekit.echo import cut
from servekit.errors import InvalidArgument, TooLarge

Address = IPv4Address | IPv6Address
Resolver = Callable[[str, int], Awaitable[Sequence[str]]]

MAX_REDIRECTS = 3
_CONNECT_SECONDS = 3.0
_PORTS = {"http": 80, "https": 443}
_REDIRECTS = {301, 302, 303, 307, 308}
_MIME_TYPE = re.compile(r"[\w.+-]{1,63}/[\w.+-]{1,127}", re.ASCII)

# What is not on the public internet, or embeds an IPv4 address that may not be: IANA's special-purpose registries. They
# are listed here, since `is_global` differs between versions of Python.
_SPECIAL = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # shared by the customers of a provider
        "127.0.0.0/8",  # loopback
        "169.254.0.0/16",  # link-local, such as the metadata services of clouds
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
        "2001::/23",  # protocol assignments, such as Teredo, benchmarks and ORCHID
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4
        "3fff::/20",  # documentation
    )
)
_GLOBAL_UNICAST = IPv6Network("2000::/3")  # other IPv6 addresses are local, multicast, reserved, or embed IPv4 ones
_NAT64 = IPv6Network("64:ff9b::/96")


async def resolve(host: str, port: int) -> list[str]:
    """The addresses of a host, by the system's resolver; raises `OSError` if it cannot be resolved."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[4][0]) for address in found))


def is_public(address: Address) -> bool:
    """Whether an address is on the public internet, also as an IPv4-mapped or NAT64 IPv6 address."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped:
            return is_public(address.ipv4_mapped)
        if address in _NAT64:
            return is_public(IPv4Address(int(address) & 0xFFFFFFFF))
        if address not in _GLOBAL_UNICAST:
            return False
    return not any(address in network for network in _SPECIAL)


class Fetcher:
    """Downloads http(s) URLs, without connection reuse, cookies or proxies.

    Args:
        allow: Hosts, addresses and networks that are allowed although they are not public.
        max_bytes: The most bytes of a body.
        timeout: Seconds for one URL, redirects included.
        resolver: Resolves a host to addresses; replaced in tests.
        transport: The HTTP transport; replaced in tests.
        memory: What the bodies count against while they arrive; None for no bound.
    """

    def __init__(
        self,
        allow: Sequence[str] = (),
        *,
        max_bytes: int,
        timeout: float,
        resolver: Resolver = resolve,
        transport: httpx.AsyncBaseTransport | None = None,
        memory: Budget | None = None,
    ) -> None:
        self._memory = memory
        self._hosts, self._networks = _parse(allow)
        self._max_bytes = max_bytes
        self._timeout = timeout
        self._resolve = resolver
        # A reused connection would be shared by all hosts of one address, though its certificate was checked for one.
        limits = httpx.Limits(max_connections=64, max_keepalive_connections=0)
        self._transport = transport or httpx.AsyncHTTPTransport(trust_env=False, limits=limits)

    async def close(self) -> None:
        """Close the transport."""
        await self._transport.aclose()

    async def fetch(self, url: str, field: str) -> tuple[bytes, str]:
        """The body behind `url` and its media type, as the server states it.

        Raises:
            InvalidArgument: The URL or one that it leads to is not http(s), names a user, has an address
                that may not be fetched, does not answer with 200, or does not answer in time.
            TooLarge: The body has more than `max_bytes`.
            Overloaded: The memory has no room for it.
        """
        try:
            async with asyncio.timeout(self._timeout):
                target = httpx.URL(url)
                for _ in range(MAX_REDIRECTS + 1):
                    response = await self._open(target, field)
                    try:
                        if response.status_code not in _REDIRECTS:
                            return await self._body(response, field)
                        target = target.join(response.headers.get("location", ""))
                    finally:
                        await response.aclose()
        except TimeoutError:
            raise InvalidArgument(f"the URL did not answer within {self._timeout:g} seconds", field=field) from None
        except (httpx.InvalidURL, UnicodeError) as error:
            raise InvalidArgument(f"{field} must be a valid URL", field=field) from error
        except httpx.TransportError as error:
            raise InvalidArgument("the connection to the URL failed", field=field) from error
        raise InvalidArgument(f"the URL must have at most {MAX_REDIRECTS} redirects", field=field)

    async def _open(self, url: httpx.URL, field: str) -> httpx.Response:
        """Request `url` at the first of its addresses that can be reached."""
        if url.scheme not in _PORTS or not url.host:
            raise InvalidArgument(f"{field} must be an http or https URL", field=field)
        if url.userinfo:
            raise InvalidArgument(f"{field} must not have a user name or a password", field=field)
        failure: httpx.TransportError = httpx.ConnectError("no address")
        for address in await self._addresses(url, field):
            request = httpx.Request(
                "GET",
                url.copy_with(host=str(address), fragment=None),
                headers={"host": url.netloc.decode("ascii"), "accept": "*/*", "accept-encoding": "identity"},
                extensions={
                    "timeout": {"connect": _CONNECT_SECONDS, "read": self._timeout, "write": self._timeout},
                    **({} if _literal(url.host) else {"sni_hostname": url.raw_host.decode("ascii")}),
                },
            )
            try:
                return await self._transport.handle_async_request(request)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                failure = error
        raise failure

    async def _addresses(self, url: httpx.URL, field: str) -> list[Address]:
        """The addresses of the host of `url`, all of which are allowed."""
        host = url.raw_host.decode("ascii")
        try:
            found = [ip_address(text) for text in await self._resolve(host, url.port or _PORTS[url.scheme])]
        except (OSError, ValueError) as error:
            raise InvalidArgument(f"the host {cut(url.host)} could not be resolved", field=field) from error
        if not found or not all(self._allowed(host, address) for address in found):
            raise InvalidArgument(f"the host {cut(url.host)} must have public or allowed addresses only", field=field)
        return found

    def _allowed(self, host: str, address: Address) -> bool:
        return (
            is_public(address)
            or host.lower().rstrip(".") in self._hosts
            or any(address in network for network in self._networks)
        )

    async def _body(self, response: httpx.Response, field: str) -> tuple[bytes, str]:
        if response.status_code != 200:
            raise InvalidArgument(f"the URL must answer with status 200, got {response.status_code}", field=field)
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            raise InvalidArgument("the URL must answer with an uncompressed body", field=field)
        too_large = TooLarge(f"the URL must have at most {self._max_bytes} bytes", field=field)
        length = response.headers.get("content-length", "")
        if length.isdecimal() and int(length[:20]) > self._max_bytes:
            raise too_large
        tenant, body, taken = current().tenant, bytearray(), 0
        try:
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > self._max_bytes:
                    raise too_large
                if self._memory is not None:
                    if not self._memory.try_acquire(tenant, len(chunk)):
                        raise budget_exhausted()
                    taken += len(chunk)
        finally:
            if self._memory is not None:
                self._memory.release(tenant, taken)
        stated = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        return bytes(body), stated if _MIME_TYPE.fullmatch(stated) else "application/octet-stream"


def _parse(allow: Sequence[str]) -> tuple[set[str], list[IPv4Network | IPv6Network]]:
    hosts, networks = set(), []
    for entry in allow:
        try:
            networks.append(ip_network(entry, strict=False))
        except ValueError:
            hosts.add(entry.lower().rstrip("."))
    return hosts, networks


def _literal(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True

"""TLS: a process's certificate and key, and the authority that its peers are signed by, renewed while it runs."""

import re
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import grpc

from servekit.errors import FailedPrecondition

_PEM = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_VERSION, _GENERALIZED_TIME = 0xA0, 0x18

_Stamp = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class _Pems:
    certificate: bytes
    key: bytes
    authority: bytes


class Certificates:
    """The three files, as they are now.

    Args:
        certificate: PEM chain, the process's own first; None to show none.
        key: PEM private key of it.
        authority: PEM of whoever signs the peers.

    Raises:
        FailedPrecondition: A file cannot be read.
    """

    def __init__(self, certificate: Path | None, key: Path | None, authority: Path | None) -> None:
        self._certificate, self._key, self._authority = certificate, key, authority
        try:
            self._stamp, self._pems = self._read()
        except OSError as error:
            raise FailedPrecondition(f"{error.filename} cannot be read: {error.strerror}", field="tls") from error

    def renew(self) -> bool:
        """Read them again if they have changed since. Returns whether they have.

        Raises:
            OSError: One cannot be read just now.
        """
        if self._look() == self._stamp:
            return False
        self._stamp, self._pems = self._read()
        return True

    def server(self) -> grpc.ServerCredentials:
        """For a server: new connections are shown the newest; with an authority, peers have to show theirs."""
        renewed = cast("Callable[[], grpc.ServerCertificateConfiguration]", self._renewed)  # None is for no change
        return grpc.dynamic_ssl_server_credentials(
            self._configuration(), renewed, require_client_authentication=self._authority is not None
        )

    def channel(self) -> grpc.ChannelCredentials:
        """For a channel: as they are now, and so for as long as it lasts."""
        pems = self._pems
        return grpc.ssl_channel_credentials(pems.authority, pems.key or None, pems.certificate or None)

    def _configuration(self) -> grpc.ServerCertificateConfiguration:
        pems = self._pems
        return grpc.ssl_server_certificate_configuration([(pems.key, pems.certificate)], pems.authority or None)

    def _renewed(self) -> grpc.ServerCertificateConfiguration | None:
        return self._configuration() if self.renew() else None

    def _read(self) -> tuple[_Stamp, _Pems]:
        while True:  # until they are of one renewal: it may come between two of them
            stamp = self._look()
            paths = (self._certificate, self._key, self._authority)
            pems = _Pems(*(path.read_bytes() if path else b"" for path in paths))
            if self._look() == stamp:
                return stamp, pems

    def _look(self) -> _Stamp:
        found = (path.stat() for path in (self._certificate, self._key, self._authority) if path)
        return tuple((stat.st_ino, stat.st_mtime_ns) for stat in found)


def expiry(certificate: Path) -> float:
    """When the first certificate of a PEM chain ends, in seconds since 1970 (`notAfter`, RFC 5280, 4.1.2.5).

    0 where there is none that can be read: for whoever watches, it has ended.
    """
    try:
        found = _PEM.search(certificate.read_text())
        return _not_after(ssl.PEM_cert_to_DER_cert(found[0])) if found else 0.0
    except (OSError, ValueError, IndexError):
        return 0.0


def _not_after(der: bytes) -> float:
    """Of Certificate ::= SEQUENCE { SEQUENCE { [0] version, serial, algorithm, issuer, validity, … }, … }."""
    ((_, certificate),) = _elements(der)
    (_, body), *_ = _elements(certificate)
    fields = [element for element in _elements(body) if element[0] != _VERSION]
    _, (tag, text) = _elements(fields[3][1])
    form = "%Y%m%d%H%M%SZ" if tag == _GENERALIZED_TIME else "%y%m%d%H%M%SZ"
    return datetime.strptime(text.decode(), form).replace(tzinfo=UTC).timestamp()


def _elements(der: bytes) -> Iterator[tuple[int, bytes]]:
    """The tag and content of each element, in DER (X.690, 8.1)."""
    at = 0
    while at < len(der):
        tag, length, at = der[at], der[at + 1], at + 2
        if length & 0x80:
            size = length & 0x7F
            length, at = int.from_bytes(der[at : at + size]), at + size
        yield tag, der[at : at + length]
        at += length

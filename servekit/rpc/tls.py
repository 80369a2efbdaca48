"""TLS: a process's certificate and key, and the authority that its peers are signed by, renewed while it runs."""

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import grpc
from cryptography import x509

from servekit.rpc.errors import FailedPrecondition

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
        FailedPrecondition: A file cannot be read, or is not what it should be.
    """

    def __init__(self, certificate: Path | None, key: Path | None, authority: Path | None) -> None:
        self._certificate, self._key, self._authority = certificate, key, authority
        try:
            self._stamp, self._pems = self._read()
            _check(certificate, key, authority)
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
    """When the first certificate of a PEM chain ends, in seconds since 1970.

    0 where there is none that can be read: for whoever watches, it has ended.
    """
    try:
        return x509.load_pem_x509_certificates(certificate.read_bytes())[0].not_valid_after_utc.timestamp()
    except (OSError, ValueError):
        return 0.0


def _check(certificate: Path | None, key: Path | None, authority: Path | None) -> None:
    """What gRPC would call an address that cannot be listened on, by its name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        if certificate:
            context.load_cert_chain(certificate, key)
    except ssl.SSLError as error:
        raise FailedPrecondition(f"{certificate} and {key} are no pair: {error.reason}", field="tls") from error
    try:
        if authority:
            context.load_verify_locations(authority)
    except ssl.SSLError as error:
        raise FailedPrecondition(f"{authority} is no PEM certificate: {error.reason}", field="tls") from error

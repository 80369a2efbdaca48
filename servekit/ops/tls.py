"""TLS: the certificate and key of a process, and the CA of its peers, reloaded while it runs."""

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import grpc
from cryptography import x509

from servekit.errors import FailedPrecondition

_Stamp = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class _Pems:
    certificate: bytes
    key: bytes
    authority: bytes


class Certificates:
    """A certificate, its key and a CA, reloaded from their files when these change.

    Args:
        certificate: A PEM chain, the certificate of this process first; None to present no certificate.
        key: The PEM private key of the certificate.
        authority: The PEM certificate of the CA that signs the peers; None to verify no peer.

    Raises:
        FailedPrecondition: A file cannot be read or is not valid, or the key does not match the certificate.
    """

    def __init__(self, certificate: Path | None, key: Path | None, authority: Path | None) -> None:
        self._certificate, self._key, self._authority = certificate, key, authority
        try:
            self._stamp, self._pems = self._read()
            _check(certificate, key, authority)
        except OSError as error:
            raise FailedPrecondition(f"{error.filename} cannot be read: {error.strerror}", field="tls") from error

    def renew(self) -> bool:
        """Read the files again if they have changed, and return whether they have.

        Raises:
            OSError: A file cannot be read at the moment.
        """
        if self._stamps() == self._stamp:
            return False
        self._stamp, self._pems = self._read()
        return True

    def server(self) -> grpc.ServerCredentials:
        """Return a server's credentials. New connections get the newest files; a CA makes clients present theirs."""
        renewed = cast("Callable[[], grpc.ServerCertificateConfiguration]", self._renewed)  # None means no change
        return grpc.dynamic_ssl_server_credentials(
            self._configuration(), renewed, require_client_authentication=self._authority is not None
        )

    def channel(self) -> grpc.ChannelCredentials:
        """Return credentials of a channel, which keeps the files that it was opened with."""
        pems = self._pems
        return grpc.ssl_channel_credentials(pems.authority, pems.key or None, pems.certificate or None)

    def _configuration(self) -> grpc.ServerCertificateConfiguration:
        pems = self._pems
        return grpc.ssl_server_certificate_configuration([(pems.key, pems.certificate)], pems.authority or None)

    def _renewed(self) -> grpc.ServerCertificateConfiguration | None:
        return self._configuration() if self.renew() else None

    def _read(self) -> tuple[_Stamp, _Pems]:
        while True:  # until no file has changed while the three were read
            stamp = self._stamps()
            paths = (self._certificate, self._key, self._authority)
            pems = _Pems(*(path.read_bytes() if path else b"" for path in paths))
            if self._stamps() == stamp:
                return stamp, pems

    def _stamps(self) -> _Stamp:
        stats = (path.stat() for path in (self._certificate, self._key, self._authority) if path)
        return tuple((stat.st_ino, stat.st_mtime_ns) for stat in stats)


def expiry(certificate: Path) -> float:
    """Return when the first certificate of a PEM chain expires, in seconds since 1970; 0 if it cannot be read."""
    try:
        return x509.load_pem_x509_certificates(certificate.read_bytes())[0].not_valid_after_utc.timestamp()
    except (OSError, ValueError):
        return 0.0


def _check(certificate: Path | None, key: Path | None, authority: Path | None) -> None:
    """Check the files here: gRPC would report them as an address that it cannot listen on."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        if certificate:
            context.load_cert_chain(certificate, key)
    except ssl.SSLError as error:
        message = f"{key} must be the private key of the certificate {certificate}: {error.reason}"
        raise FailedPrecondition(message, field="tls") from error
    try:
        if authority:
            context.load_verify_locations(authority)
    except ssl.SSLError as error:
        raise FailedPrecondition(f"{authority} must be a PEM certificate: {error.reason}", field="tls") from error

"""A process's certificate, its key and the authority that its peers are signed by."""

import re
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

_PEM = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_VERSION, _GENERALIZED_TIME = 0xA0, 0x18


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

"""API keys: their owners, the models that each may use, and their rate limits."""

import hashlib
import hmac
import ipaddress
import time
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from servekit.context import DEFAULT_TENANT, current, enter
from servekit.errors import NotFound, RateLimited, Unauthenticated


class KeyRow(BaseModel):
    """One `[[keys]]` row of the keys file.

    Attributes:
        sha256: The digest of the key; the key itself is not stored. Keys are long and random, so a plain digest is
            enough: `openssl rand -hex 32 | tee key | tr -d '\\n' | sha256sum`.
        owner: The tenant, to which files, vector stores and media belong.
        models: The ids of the models that the key may use; empty for all.
        requests_per_minute: The rate at which its token bucket refills.
        burst: The size of its token bucket: the requests that it may make at once.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    owner: str = Field(pattern="^[a-z0-9][a-z0-9_-]{0,62}$")
    models: tuple[str, ...] = ()
    requests_per_minute: float = Field(default=600.0, gt=0)
    burst: int = Field(default=60, ge=1)


class _KeysFile(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    keys: tuple[KeyRow, ...] = Field(min_length=1)


class TokenBucket:
    """A token bucket: a rate limit that allows bursts.

    Args:
        rate: Tokens that are added per second.
        burst: Tokens that the bucket holds when full.
        clock: A monotonic clock, in seconds.
    """

    def __init__(self, rate: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._burst, self._clock = rate, burst, clock
        self._level, self._at = float(burst), clock()

    def take(self) -> None:
        """Take one token.

        Raises:
            RateLimited: The bucket is empty; the error says when it will have a token.
        """
        now = self._clock()
        self._level = min(self._burst, self._level + (now - self._at) * self._rate)
        self._at = now
        if self._level < 1:
            raise RateLimited("the rate limit of this API key is exceeded", retry_after=(1 - self._level) / self._rate)
        self._level -= 1


class Caller:
    """The owner of an API key.

    Attributes:
        tenant: The tenant, to which files, vector stores and media belong.
    """

    def __init__(self, tenant: str, models: Iterable[str] = (), bucket: TokenBucket | None = None) -> None:
        self.tenant = tenant
        self._models = frozenset(models)
        self._bucket = bucket

    def admit(self) -> None:
        """Count one request against the rate limit.

        Raises:
            RateLimited: The limit is exceeded.
        """
        if self._bucket is not None:
            self._bucket.take()

    def sees(self, model_id: str) -> bool:
        """Whether the caller may use this model."""
        return not self._models or model_id in self._models

    def require(self, model_id: str) -> None:
        """Refuse a model that the caller may not use, as if it did not exist.

        Raises:
            NotFound: The caller may not use it.
        """
        if not self.sees(model_id):
            raise NotFound(f"no model {model_id!r} for this API key", field="model")


class Keys:
    """The API keys of one process.

    Args:
        rows: The keys; without any, every caller is the tenant `default`.
    """

    def __init__(self, rows: Iterable[KeyRow] = ()) -> None:
        self._callers: Mapping[str, Caller] = {
            row.sha256: Caller(row.owner, row.models, TokenBucket(row.requests_per_minute / 60, row.burst))
            for row in rows
        }
        self._default_caller = Caller(DEFAULT_TENANT)

    @classmethod
    def read(cls, path: Path | None) -> "Keys":
        """The keys of a file; without a file, no keys.

        Raises:
            SystemExit: The file cannot be read, or is invalid.
        """
        if path is None:
            return cls()
        try:
            return cls(_KeysFile.model_validate(tomllib.loads(path.read_text())).keys)
        except (OSError, tomllib.TOMLDecodeError, ValidationError) as error:
            raise SystemExit(f"invalid keys file {path}: {error}") from error

    def __bool__(self) -> bool:
        return bool(self._callers)

    def authenticate(self, authorization: str) -> Caller:
        """The caller who sends this `Authorization` header.

        Raises:
            Unauthenticated: The header has no known API key.
        """
        if not self:
            return self._default_caller
        scheme, _, key = authorization.partition(" ")
        if scheme.lower() != "bearer" or not key:
            raise Unauthenticated("missing API key: send Authorization: Bearer <key>", field="authorization")
        digest = hashlib.sha256(key.strip().encode()).hexdigest()
        found = [caller for known, caller in self._callers.items() if hmac.compare_digest(known, digest)]
        if not found:
            raise Unauthenticated("invalid API key", field="authorization")
        return found[0]

    def admit(self, authorization: str) -> Caller:
        """The caller who sends this `Authorization` header: enters its tenant, and counts the request.

        Raises:
            Unauthenticated: The header has no known API key.
            RateLimited: The rate limit of the key is exceeded.
        """
        caller = self.authenticate(authorization)
        enter(replace(current(), tenant=caller.tenant))  # first, so that the log of a refusal names the tenant
        caller.admit()
        return caller


def require_loopback(host: str, keys: Keys) -> None:
    """Refuse to listen on the network without API keys.

    Raises:
        SystemExit: There are no keys and the address is not a loopback address.
    """
    if keys or host == "localhost":
        return
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise SystemExit(
            f"refusing to listen on {host} without API keys: set POLYPHONY_GATEWAY_KEYS_FILE, or listen on 127.0.0.1"
        )

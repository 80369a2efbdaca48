"""The processes of a fleet: their commands, environments and ports."""

import signal
import sys

from fleet.runner import ports
from fleet.runner.postgres import ENVIRONMENT, STOP_SECONDS, Postgres
from fleet.runner.process import Process
from fleet.settings import FleetSettings
from servekit.models.catalogue import Profile
from servekit.ops.ports import PORTS
from servekit.ops.settings import SHARED_PREFIX, available_cores

USUAL = {
    "ORT_DISABLE_TELEMETRY": "1",  # ONNX Runtime sends telemetry otherwise
    "MALLOC_ARENA_MAX": "2",  # one arena per thread otherwise, and a long-lived process grows
    # Bytes. By default the memory of a request of half a megabyte may go back to the kernel each time, and the page
    # faults cost the gateway 2 ms; whether it does depends on the layout of the heap.
    "MALLOC_MMAP_THRESHOLD_": "4194304",
    "MALLOC_TRIM_THRESHOLD_": "16777216",
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "16",  # it keeps 1.5 MB for each length of audio otherwise
}

# The services that store in Postgres; the gateway does, too.
USERS = ("speech", "retrieval")


def database(settings: FleetSettings, profile: Profile) -> Postgres | None:
    """The Postgres that the fleet runs; None where each process that needs one has the URL of another."""
    if not _database_users(settings, profile):
        return None
    port = settings.chosen("postgres", "port")
    return Postgres(
        data=settings.home / "data" / "postgres",
        password_file=settings.run_dir / "postgres.password",
        port=int(port or 0) or ports.free(),
        account=settings.postgres_user,
        copies=settings.run_dir,
    )


def _database_users(settings: FleetSettings, profile: Profile) -> set[str]:
    """The processes that use the fleet's own Postgres."""
    own = {name: row.settings for name, row in profile.services.items() if name in USERS} | {"gateway": profile.gateway}
    return {
        name for name, row in own.items() if "database_url" not in row and not settings.chosen(name, "database_url")
    }


def processes(settings: FleetSettings, profile: Profile, postgres: Postgres | None) -> list[Process]:
    """Every process of the profile, on ports that are free.

    Args:
        settings: The settings of the fleet.
        profile: The profile to run.
        postgres: The prepared database server that runs with it; None for none.

    Raises:
        FleetError: A port is in use.
    """
    names = ["gateway", *profile.services]
    users = _database_users(settings, profile)
    taken = _Ports(settings, {postgres.port} if postgres else set())
    grpc = {name: taken.choose(name, "port", PORTS[name].grpc) for name in names}
    metrics = {name: taken.choose(name, "metrics_port", PORTS[name].metrics) for name in names}
    http = taken.choose("gateway", "http_port", PORTS["gateway"].http)
    secure = [name for name in names if settings.tls_certificate_file or settings.chosen(name, "tls_certificate_file")]
    health = {name: taken.choose(name, "health_port", PORTS[name].health) for name in secure}
    taken.check()

    def process(name: str, **fields: object) -> Process:
        row = profile.services.get(name)
        fields |= {
            "port": grpc[name],
            "metrics_port": metrics[name],
            "home": settings.home,
            "profile": settings.profile,
            **(row.settings if row else profile.gateway),
        }
        if postgres and name in users:
            fields["database_url"] = postgres.url
        if name in health:
            fields["health_port"] = health[name]
        if row and f"{SHARED_PREFIX}THREADS" not in settings.environment:
            fields["threads"] = max(1, round(row.cores * available_cores()))
        variables = {f"{SHARED_PREFIX}{name}_{field}".upper(): str(value) for field, value in fields.items()}
        given = settings.environment
        own = {key: given[key] for key in variables if key in given and not key.endswith("PORT")}
        return Process(
            name=name,
            command=(sys.executable, "-P", "-m", "gateway" if name == "gateway" else f"services.{name}"),
            environment={**USUAL, **given, **variables, **own},
            protocol="grpc" if row else "http",
            host=taken.host(name) if row else taken.host(name, "http_host"),
            port=health.get(name, grpc[name]) if row else http,
            address=f"{taken.host(name)}:{grpc[name]}" if row else f"http://{taken.host(name, 'http_host')}:{http}",
            grpc=f"{taken.host(name)}:{grpc[name]}",
            metrics=f"{taken.host(name)}:{metrics[name]}",
            models=row.models if row else (),
            stage=1 if row else 2,
            stop_seconds=settings.pre_stop_delay_seconds + settings.drain_timeout_seconds + 5,
        )

    targets = {f"{name}_target": f"{taken.host(name)}:{grpc[name]}" for name in profile.services}
    plan = [] if postgres is None else [server(postgres)]
    plan += [process(name) for name in profile.services]
    return [*plan, process("gateway", http_port=http, **targets)]


def server(postgres: Postgres) -> Process:
    """The database server as a process."""
    return Process(
        name="postgres",
        command=postgres.command(),
        environment=ENVIRONMENT,
        protocol="postgres",
        host="127.0.0.1",
        port=postgres.port,
        address=f"127.0.0.1:{postgres.port}",
        stage=0,
        user=postgres.user(),
        before=postgres.make_startable,
        after=postgres.provision,
        stop_signal=signal.SIGINT,  # Postgres calls it fast shutdown
        orphan_signal=signal.SIGINT,
        stop_seconds=STOP_SECONDS,
    )


class _Ports:
    """Chooses ports, and collects the fixed ones so that they are checked together.

    Args:
        settings: The settings of the fleet.
        chosen: Free ports that are chosen already.
    """

    def __init__(self, settings: FleetSettings, chosen: set[int]) -> None:
        self._settings = settings
        self._fixed: list[tuple[str, int, str]] = []
        self._free = chosen

    def host(self, name: str, field: str = "host") -> str:
        """The host at which a process of this machine is reached."""
        host = self._settings.chosen(name, field) or self._settings.host
        return "127.0.0.1" if host in ("0.0.0.0", "::", "") else host  # noqa: S104

    def choose(self, name: str, field: str, default: int) -> int:
        """The port that the user set, or the documented one, or a free one."""
        port = int(self._settings.chosen(name, field) or (default if self._settings.ports == "fixed" else 0))
        if port == 0:
            port = ports.free(self._free)
            self._free.add(port)
            return port
        host = self.host(name, "http_host" if field == "http_port" else "host")
        self._fixed.append((host, port, f"{SHARED_PREFIX}{name}_{field}".upper()))
        return port

    def check(self) -> None:
        ports.check(self._fixed)

"""Alerts on processes: down, restarting, unresponsive, leaking memory, full disks, expiring certificates."""

from dashboards.promql import GATEWAY, PROCESSES, ours, quantile
from dashboards.rules.rule import Alert, Group

DAY = 86400
OURS = f"{{{PROCESSES}}}"


def group() -> Group:
    """The alerts."""
    memory, free = f"process_resident_memory_bytes{OURS}", "polyphony_filesystem_avail_bytes"
    return Group(
        "processes",
        [
            Alert(
                "ProcessDown",
                "critical",
                f"up{OURS} == 0",
                "2m",
                "Prometheus cannot scrape {{ $labels.job }} at {{ $labels.instance }}",
                "The process has exited, hangs, or is unreachable.",
            ),
            Alert(
                "GatewayAbsent",
                "critical",
                f"absent(up{{{GATEWAY}}} == 1)",
                "2m",
                "No gateway is up",
                "No request of any application is answered.",
            ),
            Alert(
                "ProcessRestarts",
                "warning",
                f"changes(process_start_time_seconds{OURS}[15m]) > 2",
                "0m",
                "{{ $labels.job }} at {{ $labels.instance }} has restarted {{ $value }} times in 15 minutes",
                "It exits soon after each start: the kernel kills it for its memory, or the same error recurs.",
            ),
            Alert(
                "EventLoopLags",
                "warning",
                f"{quantile(0.99, 'polyphony_event_loop_lag_seconds', 'job, instance', PROCESSES, '5m')} > 0.1",
                "10m",
                "The event loop of {{ $labels.job }} at {{ $labels.instance }} lags by {{ $value | humanizeDuration }}",
                "One request in a hundred finds the process unresponsive for that long, health checks included.",
            ),
            Alert(
                "MemoryGrows",
                "warning",
                f"predict_linear({memory}[6h], {DAY})\n> 1.5 * {memory}\n"
                f"and on (job, instance) (time() - process_start_time_seconds{OURS}) > 7 * 3600",
                "1h",
                "{{ $labels.job }} at {{ $labels.instance }} leaks: {{ $value | humanize1024 }}B by tomorrow",
                "Its memory has grown for six hours and will be half as large again within a day, "
                "until the kernel kills it.",
            ),
            Alert(
                "DiskLow",
                "critical",
                f"{free} / polyphony_filesystem_size_bytes < 0.05",
                "10m",
                "{{ $value | humanizePercentage }} of the disk of {{ $labels.job }}'s {{ $labels.folder }} is free",
                "Uploads, media and weights will soon fail to be written.",
            ),
            Alert(
                "DiskFills",
                "warning",
                f"predict_linear({free}[6h], 2 * {DAY}) < 0\nand {free} / polyphony_filesystem_size_bytes < 0.4",
                "1h",
                "{{ $labels.folder }} of {{ $labels.job }} {{ $labels.instance }} is full within two days",
                "It has been filling for six hours.",
            ),
            Alert(
                "CertificateExpires",
                "critical",
                f"polyphony_tls_certificate_expiration_timestamp_seconds - time() < 3 * {DAY}",
                "10m",
                "Certificate of {{ $labels.job }} {{ $labels.instance }} expires in {{ $value | humanizeDuration }}",
                "After that every request to it fails.",
            ),
            Alert(
                "CertificateNotRenewed",
                "warning",
                ours(f"certmanager_certificate_expiration_timestamp_seconds - time() < 7 * {DAY}"),
                "1h",
                "cert-manager has not renewed {{ $labels.namespace }} {{ $labels.name }}",
                "It expires in {{ $value | humanizeDuration }} and should have been renewed by now.",
            ),
        ],
    )

"""Processes and machines: down, restarting, leaking, a disk that fills, a certificate that ends."""

from dashboards.promql import GATEWAY, PROCESSES, ours
from dashboards.rules.rule import Alert, Group

DAY = 86400
OURS = f"{{{PROCESSES}}}"


def group() -> Group:
    """The alerts."""
    memory, free = f"process_resident_memory_bytes{OURS}", "polyphony_disk_free_bytes"
    return Group(
        "processes",
        [
            Alert(
                "ProcessDown",
                "critical",
                f"up{OURS} == 0",
                "2m",
                "{{ $labels.job }} at {{ $labels.instance }} does not answer Prometheus",
                "The process has ended, hangs, or cannot be reached.",
            ),
            Alert(
                "GatewayAbsent",
                "critical",
                f"absent(up{{{GATEWAY}}} == 1)",
                "2m",
                "There is no gateway",
                "No call of any application is answered.",
            ),
            Alert(
                "ProcessRestarts",
                "warning",
                f"changes(process_start_time_seconds{OURS}[15m]) > 2",
                "0m",
                "{{ $labels.job }} at {{ $labels.instance }} has restarted {{ $value }} times in 15 minutes",
                "It ends soon after each start: killed for its memory, or by a fault it meets again.",
            ),
            Alert(
                "MemoryGrows",
                "warning",
                f"predict_linear({memory}[6h], {DAY})\n> 1.5 * {memory}\n"
                f"and on (job, instance) (time() - process_start_time_seconds{OURS}) > 7 * 3600",
                "1h",
                "{{ $labels.job }} at {{ $labels.instance }} leaks: {{ $value | humanize1024 }}B by tomorrow",
                "Its memory has grown for six hours and would be half as large again within a day, "
                "until the kernel kills it.",
            ),
            Alert(
                "DiskLow",
                "critical",
                f"{free} / polyphony_disk_bytes < 0.05",
                "10m",
                "{{ $value | humanizePercentage }} of the disk of {{ $labels.job }}'s {{ $labels.folder }} is free",
                "Uploads, media and weights cannot be written soon.",
            ),
            Alert(
                "DiskFills",
                "warning",
                f"predict_linear({free}[6h], 2 * {DAY}) < 0\nand {free} / polyphony_disk_bytes < 0.4",
                "1h",
                "{{ $labels.folder }} of {{ $labels.job }} {{ $labels.instance }} is full within two days",
                "It has been filling for six hours.",
            ),
            Alert(
                "CertificateEnds",
                "critical",
                f"polyphony_tls_expiry_timestamp_seconds - time() < 3 * {DAY}",
                "10m",
                "The certificate of {{ $labels.job }} {{ $labels.instance }} ends in {{ $value | humanizeDuration }}",
                "After that every call to it fails.",
            ),
            Alert(
                "CertificateNotRenewed",
                "warning",
                ours(f"certmanager_certificate_expiration_timestamp_seconds - time() < 7 * {DAY}"),
                "1h",
                "cert-manager has not renewed {{ $labels.namespace }} {{ $labels.name }}",
                "It ends in {{ $value | humanizeDuration }}, and should have been renewed by now.",
            ),
        ],
    )

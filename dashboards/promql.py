"""Builders of the PromQL expressions that panels and rules share."""

WINDOW = "$__rate_interval"  # a variable of Grafana: at least four scrape intervals

# Jobs are called `polyphony-<service>`, so that they match no gateway of another application.
GATEWAY = 'job="polyphony-gateway"'
SERVICES = 'job=~"polyphony-(vision|speech|generation|retrieval)"'
PROCESSES = 'job=~"polyphony-(gateway|vision|speech|generation|retrieval)"'

# Objects of the charts are called `<release>-<application>`.
APPLICATIONS = ".+-(gateway|vision|speech|generation|retrieval|vllm|triton)"
PODS = f"{APPLICATIONS}-.+"


def selected(metric: str, where: str = "") -> str:
    """A selector of a metric, restricted to the series that match `where`."""
    return f"{metric}{{{where}}}" if where else metric


def ours(objects: str) -> str:
    """Restrict metrics about Kubernetes objects to the namespaces in which Polyphony runs.

    The namespace of an object is in the label `namespace`, or in `exported_namespace` where Prometheus uses `namespace`
    for the scraped target. Outside of a cluster neither side has the label, and every series matches.
    """
    placed = f'label_replace({objects}, "namespace", "$1", "exported_namespace", "(.+)")'
    return f"({placed}\nand on (namespace) up{{{PROCESSES}}})"


def rate(counter: str, by: str = "", where: str = "", window: str = WINDOW) -> str:
    """The per-second rate of a counter, summed by labels."""
    total = f"sum by ({by})" if by else "sum"
    return f"{total} (rate({selected(counter, where)}[{window}]))"


def quantile(q: float, histogram: str, by: str = "", where: str = "", window: str = WINDOW) -> str:
    """The q-quantile of a histogram, estimated from its buckets."""
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({q}, {rate(f'{histogram}_bucket', labels, where, window)})"


def mean(histogram: str, by: str = "", where: str = "", window: str = WINDOW) -> str:
    """The mean of a histogram's observations; no series where there are none."""
    total, count = (rate(f"{histogram}_{part}", by, where, window) for part in ("sum", "count"))
    return f"{total} / ({count} > 0)"


def share(part: str, whole: str) -> str:
    """The ratio of `part` to `whole`, label by label: 0 where `part` has no series, no series where `whole` is 0."""
    return f"({part} or {whole} * 0) / ({whole} > 0)"


def load(by: str = "job, model", where: str = "", window: str = WINDOW) -> str:
    """Utilization: offered load per engine, rejected work included. Above 1, admission control rejects work."""
    offered = rate("polyphony_offered_load_engine_seconds_total", by, where, window)
    return f"{offered} / sum by ({by}) ({selected('polyphony_engines', where)})"

"""The few forms of PromQL that panels and rules are made of."""

WINDOW = "$__rate_interval"  # Grafana's own: at least four scrapes

# Jobs are `polyphony-<service>`: other people have gateways, too.
GATEWAY = 'job="polyphony-gateway"'
SERVICES = 'job=~"polyphony-(vision|speech|generation|retrieval)"'
PROCESSES = 'job=~"polyphony-(gateway|vision|speech|generation|retrieval)"'

# What the charts make is called `<release>-<application>`.
APPLICATIONS = ".+-(gateway|vision|speech|generation|retrieval|vllm|triton)"
PODS = f"{APPLICATIONS}-.+"


def selected(metric: str, where: str = "") -> str:
    """A metric, or those of its series that match."""
    return f"{metric}{{{where}}}" if where else metric


def ours(objects: str) -> str:
    """What others tell of Kubernetes's objects, of those in a namespace that has processes of ours.

    A label of an object is `namespace`, or `exported_namespace` where Prometheus kept the former for who told it.
    Without a cluster neither side has any, and all are ours.
    """
    placed = f'label_replace({objects}, "namespace", "$1", "exported_namespace", "(.+)")'
    return f"({placed}\nand on (namespace) up{{{PROCESSES}}})"


def rate(counter: str, by: str = "", where: str = "", window: str = WINDOW) -> str:
    """How much a counter grows a second, summed by labels."""
    total = f"sum by ({by})" if by else "sum"
    return f"{total} (rate({selected(counter, where)}[{window}]))"


def quantile(q: float, histogram: str, by: str = "", where: str = "", window: str = WINDOW) -> str:
    """The q-quantile of what a histogram counted, estimated from its buckets."""
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({q}, {rate(f'{histogram}_bucket', labels, where, window)})"


def mean(histogram: str, by: str = "", where: str = "", window: str = WINDOW) -> str:
    """The mean of what a histogram counted; nothing where it counted nothing."""
    total, count = (rate(f"{histogram}_{part}", by, where, window) for part in ("sum", "count"))
    return f"{total} / ({count} > 0)"


def share(part: str, whole: str) -> str:
    """A part of a whole with the same labels: 0 where there is none of the part, nothing where there is no whole."""
    return f"({part} or {whole} * 0) / ({whole} > 0)"


def load(by: str = "job, model", where: str = "", window: str = WINDOW) -> str:
    """Engine seconds asked for, refused work included, per engine second that there is. Above 1 work is turned away."""
    demand = rate("polyphony_demand_seconds_total", by, where, window)
    return f"{demand} / sum by ({by}) ({selected('polyphony_engines', where)})"

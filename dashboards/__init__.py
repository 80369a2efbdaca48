"""Grafana dashboards and Prometheus rules as Python: `python -m dashboards` writes them into the chart."""

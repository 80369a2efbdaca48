"""What operators look at and are woken by, as Python: `python -m dashboards` writes it into the chart."""

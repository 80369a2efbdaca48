"""Properties are tried on the same examples every time, however slow the machine is.

`pytest tests/unit --hypothesis-profile=default` looks for new ones.
"""

from hypothesis import HealthCheck, settings

settings.register_profile("steady", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("steady")

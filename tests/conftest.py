"""Hypothesis on machines of any speed: no test asserts a time."""

from hypothesis import HealthCheck, settings

present = settings.get_profile(settings.get_current_profile_name())
slow = [*present.suppress_health_check, HealthCheck.too_slow]
settings.register_profile("any machine", present, deadline=None, suppress_health_check=slow)
settings.load_profile("any machine")
# For `make test-fast`: a tenth of the cases that `make test` draws.
settings.register_profile("fast", settings.get_profile("any machine"), max_examples=10)

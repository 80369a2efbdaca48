"""A model without a scheduler, fast enough for requests to call it directly."""

from typing import Generic, TypeVar

from servekit.models.catalogue import ModelSpec
from servekit.ops.telemetry import Telemetry

AnyModel = TypeVar("AnyModel")


class Unscheduled(Generic[AnyModel]):
    """A model that requests call directly, with the lifecycle of a scheduler.

    Args:
        spec: The model's spec.
        model: The loaded model, safe to call from several threads. Its memory is freed with it.
        telemetry: Where its readiness is reported.
    """

    def __init__(self, spec: ModelSpec, model: AnyModel, telemetry: Telemetry) -> None:
        self.spec = spec
        self.model = model
        self.ready = False
        self._gauge = telemetry.model_ready.labels(spec.id)

    async def start(self) -> None:
        """Report the model as ready: it needs no warming."""
        self._set_ready(True)

    async def close(self) -> None:
        """Report the model as not ready."""
        self._set_ready(False)

    def _set_ready(self, ready: bool) -> None:
        self.ready = ready
        self._gauge.set(ready)

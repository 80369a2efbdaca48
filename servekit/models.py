"""The models of a process: loaded by its profile, found by task and name."""

import asyncio
import importlib
import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Generic, TypeVar

from servekit.catalogue import ModelCard, Service, models_of
from servekit.errors import FailedPrecondition, NotFound
from servekit.lane import Lane
from servekit.settings import ProcessSettings
from servekit.telemetry import Telemetry

log = logging.getLogger(__name__)

AnyLane = TypeVar("AnyLane", bound=Lane)


class Models(Generic[AnyLane]):
    """The lanes of one task, the default first."""

    def __init__(self, lanes: Iterable[AnyLane]) -> None:
        self._lanes = list(lanes)
        self._by_name = {name: lane for lane in self._lanes for name in (lane.card.id, *lane.card.aliases)}

    def __iter__(self) -> Iterator[AnyLane]:
        return iter(self._lanes)

    def get(self, name: str, *, field: str = "model") -> AnyLane:
        """The lane of a model id or alias; of the default where the name is empty.

        Raises:
            NotFound: No such model is loaded.
        """
        if not name and self._lanes:
            return self._lanes[0]
        if name not in self._by_name:
            loaded = ", ".join(lane.card.id for lane in self._lanes) or "none"
            raise NotFound(f"no model {name!r} is loaded; there is {loaded}", field=field)
        return self._by_name[name]


def cards(settings: ProcessSettings, service: Service, telemetry: Telemetry) -> tuple[ModelCard, ...]:
    """The cards of the models that this process is to load, checked before anything is loaded.

    From here on `polyphony_model_ready` says that they are not ready yet.

    Raises:
        FailedPrecondition: Weights are missing, or the models need more memory than is allowed.
    """
    rows = models_of(settings.profile, service, settings.catalogue)
    for card in rows:
        telemetry.ready.labels(card.id).set(False)
    needed = sum(card.memory_mb for card in rows)
    if settings.memory_mb and needed > settings.memory_mb:
        raise FailedPrecondition(
            f"the models of {service} need {needed} MiB together, {settings.memory_mb} are allowed", field="memory_mb"
        )
    for card in rows:
        for file in card.files:
            if not (card.folder(settings.models_dir) / file.path).is_file():
                raise FailedPrecondition(
                    f"{card.id} has no {file.path} in {settings.models_dir}: run `polyphony models pull {card.id}`"
                )
    return tuple(card.model_copy(update={"options": {**card.options, **settings.model_options}}) for card in rows)


async def load(card: ModelCard, settings: ProcessSettings, loaders: Mapping[str, str], telemetry: Telemetry) -> Any:
    """Load one model, beside the event loop, with the function that its card's `loader` names.

    Args:
        card: The model.
        settings: Of this process; handed to the loader.
        loaders: `module:function` by loader name; the module is imported only now, so that a
            profile without an engine never imports it.
        telemetry: Where it is said how long it took.

    Raises:
        FailedPrecondition: This service has no such loader.
    """
    if card.loader not in loaders:
        raise FailedPrecondition(f"{card.id} wants the loader {card.loader!r}; there is {', '.join(loaders)}")
    module, _, function = loaders[card.loader].partition(":")
    log.info("loading %s", card.id)
    with telemetry.loading(card.id):
        return await asyncio.to_thread(lambda: getattr(importlib.import_module(module), function)(card, settings))

"""The port of models that work in steps."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from servekit.context import CancellationToken
from servekit.errors import ServeError
from servekit.scheduling.engines import Model

RequestIn = TypeVar("RequestIn", contravariant=True)
State = TypeVar("State")
Event = TypeVar("Event")


@dataclass(frozen=True, slots=True)
class StepOutput(Generic[Event]):
    """What a step made of one state.

    Attributes:
        events: Events for the caller, such as progress or a piece of the result.
        finished: Whether this was the last step of the state.
    """

    events: Sequence[Event] = ()
    finished: bool = False


class StepModel(Model, Protocol[RequestIn, State, Event]):
    """A model that works in steps, each for several requests; all that it keeps of a request is in its state.

    `begin`, `step` and `finish` have a thread each, so that neither encoding a request nor decoding a result delays
    the steps of the others; they may run at the same time, on different states.
    """

    def begin(self, request: RequestIn) -> State:
        """Make the state before the first step: encode the prompt, draw the noise.

        Raises:
            ServeError: The request is bad; its neighbours are not affected.
        """

    def batch_key(self, state: State) -> Hashable:
        """What states must have in common to share a step, such as the size of an image."""

    def step(
        self, states: Sequence[State], cancellation: CancellationToken
    ) -> Sequence[StepOutput[Event] | ServeError]:
        """Advance states of one batch key by a step; one output or error per state, in their order.

        The cancellation token is cancelled once all their callers have left or are late; callers that leave before
        the others are taken out between two steps.

        Raises:
            OutOfMemory: There is no memory for this many, and no state has changed; fewer are tried.
            EngineCrashed: The engine has crashed.
        """

    def finish(self, state: State) -> Event:
        """Make the last event, the result, of a state that has finished: decode the image or the sound.

        Raises:
            ServeError: The result cannot be made; other requests are not affected.
        """

"""Pods: the queue and the engines of a replica on a simulated clock, behind the admission control of the real one."""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from math import inf

from capacity.curve import Curve
from servekit.errors import Overloaded
from servekit.scheduling.admission import Admission, Backlog
from servekit.scheduling.service_time import ServiceTimeModel


@dataclass(frozen=True, slots=True)
class SimulatedRequest:
    """A request: its number, arrival time, deadline, and work relative to the mean."""

    number: int
    arrived: float
    deadline: float
    work: float


@dataclass(frozen=True, slots=True)
class Sample:
    """One scrape of a pod: counters since its start, and the queue depth."""

    time: float
    offered: float
    busy: float
    calls: int
    waiting: int


@dataclass(frozen=True, slots=True)
class Completion:
    """The end of a request: its time, and whether it was answered in time."""

    job: SimulatedRequest
    time: float
    good: bool


class Pod(ABC):
    """One replica.

    Args:
        curve: The curve of its engines.
        created: Its creation time; all times are in seconds.
        ready: The time from which it serves.

    Attributes:
        terminated_at: The time of its SIGTERM, `inf` until then.
        exited_at: The time of its exit.
    """

    def __init__(self, curve: Curve, created: float, ready: float) -> None:
        self.curve = curve
        self.created = created
        self.started = ready - curve.load_seconds
        self.ready = ready
        self.terminated_at = self.exited_at = inf
        self.version = 0  # of what it will do next
        self.samples: deque[Sample] = deque()
        self._taken = [0.0] + [curve.taken(n) for n in range(1, max(curve.batch, curve.engines) + 1)]
        self._queue: deque[SimulatedRequest] = deque()
        self._queued = self._running = 0.0  # work
        slots = curve.kind == "slots"
        self._service_time = (
            ServiceTimeModel.of_slots(curve.engines) if slots else ServiceTimeModel.of_batches(curve.batch)
        )
        self._admission = Admission("the model", self._service_time, max_queue_cost=curve.queue)
        self._offered = self._busy = self._now = 0.0
        self._calls = 0

    def offer(self, job: SimulatedRequest) -> bool:
        """Admit or reject a request by the rules of admission control."""
        now = job.arrived
        self._pass(now)
        self._offered += job.work * self._service_time.full_seconds_per_cost
        if not self._admits(job):
            while self._queue and self._queue[0].deadline <= now:
                self._queued -= self._queue.popleft().work
            if not self._admits(job):
                return False
        self._queue.append(job)
        self._queued += job.work
        return True

    def sample(self, now: float) -> None:
        """Record a scrape."""
        self._pass(now)
        self.samples.append(Sample(now, self._offered, self._busy, self._calls, len(self._queue)))

    @property
    def idle(self) -> bool:
        """Whether no request runs or is queued."""
        return not self._queue and self.next() == inf

    @abstractmethod
    def next(self) -> float:
        """The time of the next completion; `inf` if nothing runs."""

    @abstractmethod
    def work(self, now: float) -> Iterator[Completion]:
        """Complete finished requests and start queued ones."""

    @abstractmethod
    def _pass(self, now: float) -> None:
        """Advance the clock."""

    @property
    @abstractmethod
    def _runs_now(self) -> int:
        """The number of active runs."""

    def _admits(self, job: SimulatedRequest) -> bool:
        backlog = Backlog(len(self._queue), self._queued, self._runs_now, self._running, self.curve.engines)
        seconds = self._service_time.seconds(job.work, runs=1)
        try:
            self._admission.admit(job.work, seconds, backlog, job.deadline - job.arrived)
        except Overloaded:
            return False
        return True


class SlotPod(Pod):
    """A pod with slots: concurrent requests slow one another down; one past its deadline is cancelled."""

    def __init__(self, curve: Curve, created: float, ready: float) -> None:
        super().__init__(curve, created, ready)
        self._stretch = [1.0] + [seconds / self._taken[1] for seconds in self._taken[1:]]
        self._done = 0.0  # seconds of work alone that each running call has got since the pod began
        # What `_done` will be at its end, its start, the call, how many ran with it then.
        self._slots: list[tuple[float, float, SimulatedRequest, int]] = []

    def next(self) -> float:
        if not self._slots:
            return inf
        left = min(slot[0] for slot in self._slots) - self._done
        return min(self._now + left * self._stretch[len(self._slots)], min(slot[2].deadline for slot in self._slots))

    def work(self, now: float) -> Iterator[Completion]:
        self._pass(now)
        for slot in [slot for slot in self._slots if slot[0] <= self._done + 1e-9 or slot[2].deadline <= now]:
            end, began, job, first = slot
            self._service_time.observe((first + len(self._slots)) / 2, (now - began) / job.work)
            self._slots.remove(slot)
            self._running -= job.work
            yield Completion(job, now, end <= self._done + 1e-9)
        while self._queue and len(self._slots) < self.curve.engines:
            job = self._queue.popleft()
            self._queued -= job.work
            if job.deadline <= now:
                yield Completion(job, now, good=False)
                continue
            self._calls += 1
            self._running += job.work
            self._slots.append((self._done + job.work * self._taken[1], now, job, len(self._slots) + 1))

    def _pass(self, now: float) -> None:
        seconds, self._now = now - self._now, now
        self._done += seconds / self._stretch[len(self._slots)]
        self._busy += seconds * len(self._slots)

    @property
    def _runs_now(self) -> int:
        return len(self._slots)


class BatchPod(Pod):
    """A pod with batching: a free engine takes queued requests up to a batch, which end together."""

    def __init__(self, curve: Curve, created: float, ready: float) -> None:
        super().__init__(curve, created, ready)
        self._runs: list[tuple[float, float, float, list[SimulatedRequest]]] = []  # (end, start, work, calls)

    def next(self) -> float:
        return min(self._runs)[0] if self._runs else inf

    def work(self, now: float) -> Iterator[Completion]:
        self._pass(now)
        for run in [run for run in self._runs if run[0] <= now]:
            end, began, work, jobs = run
            self._runs.remove(run)
            self._running -= work
            self._service_time.observe(1 / work, (end - began) / work)
            for job in jobs:
                yield Completion(job, now, job.deadline >= now)
        while self._queue and len(self._runs) < self.curve.engines:
            jobs, work = [], 0.0
            while self._queue and len(jobs) < self.curve.batch:
                if jobs and work + self._queue[0].work > self.curve.batch:
                    break
                job = self._queue.popleft()
                self._queued -= job.work
                if job.deadline <= now:
                    yield Completion(job, now, good=False)
                    continue
                jobs.append(job)
                work += job.work
            if jobs:
                self._calls += len(jobs)
                self._running += work
                self._runs.append((now + self._seconds(work), now, work, jobs))

    def _seconds(self, work: float) -> float:
        """The duration of a run with this much work, at least that of one mean request."""
        if work <= 1:
            return self._taken[1]
        whole = min(int(work), len(self._taken) - 2)
        return self._taken[whole] + (work - whole) * (self._taken[whole + 1] - self._taken[whole])

    def _pass(self, now: float) -> None:
        seconds, self._now = now - self._now, now
        self._busy += seconds * len(self._runs)

    @property
    def _runs_now(self) -> int:
        return len(self._runs)

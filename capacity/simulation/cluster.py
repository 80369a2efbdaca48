"""A simulated cluster: gateways with round-robin load balancing, pods with start times, and the controller."""

from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heappop, heappush
from math import ceil, inf, log

import numpy as np
from numpy.typing import NDArray

from capacity.curve import Curve
from capacity.simulation import hpa
from capacity.simulation.outcome import ClusterSnapshot, RequestOutcome, SimulationResult
from capacity.simulation.pods import BatchPod, Completion, Pod, SimulatedRequest, SlotPod
from capacity.simulation.scaling import Scaler
from capacity.simulation.traces import LoadTrace

DNS_SECONDS = 1.0  # the least time between two DNS queries of servekit/rpc/client.py


@dataclass(frozen=True, slots=True)
class Environment:
    """The environment of the pods.

    Attributes:
        gateways: The number of gateways; each balances over the pods that it knows by round robin.
        connection_seconds: The maximum age of a connection: when one ends, the gateway discovers new pods.
        start_spread: The relative deviation of a pod's start time.
    """

    gateways: int = 2
    connection_seconds: float = 60.0
    start_spread: float = 0.2


def replay(
    trace: LoadTrace, curve: Curve, scaler: Scaler, seed: int, around: Environment | None = None
) -> SimulationResult:
    """Simulate a trace on pods of one service.

    Args:
        trace: The load trace.
        curve: The curve of a pod.
        scaler: The autoscaler; `fixed` has `behavior.min_replicas` pods.
        seed: The random seed; arrivals do not depend on the scaler.
        around: The environment.
    """
    return _Cluster(trace, curve, scaler, seed, around or Environment()).run()


class _Cluster:
    def __init__(self, trace: LoadTrace, curve: Curve, scaler: Scaler, seed: int, around: Environment) -> None:
        self._curve, self._scaler, self._around = curve, scaler, around
        self._end = float(trace.seconds)
        self._chance = np.random.default_rng((seed, 1))
        self._arrivals = trace.arrivals(seed)
        self._works = _works(curve.spread, len(self._arrivals), np.random.default_rng((seed, 2)))
        self._latencies = np.full(len(self._arrivals), np.nan)
        self._outcomes = np.full(len(self._arrivals), RequestOutcome.LATE, dtype=np.uint8)
        self._snapshots: list[ClusterSnapshot] = []
        self._history = hpa.History()
        self._pods: list[Pod] = []  # that the workload counts
        self._all: list[Pod] = []
        self._known: list[list[Pod]] = [[] for _ in range(around.gateways)]
        self._turns = [0] * around.gateways
        self._events: list[tuple[float, int, str, object]] = []
        self._number = 0
        first = float(trace.rates[:60].mean()) / curve.rate
        share = scaler.target if scaler.metric in ("offered-load", "busy", "cpu") else 0.7
        behavior = scaler.behavior
        pods = behavior.min_replicas if scaler.metric == "fixed" else ceil(first / share)
        for _ in range(min(max(pods, behavior.min_replicas), behavior.max_replicas)):
            self._begin(0.0, 0.0)

    def run(self) -> SimulationResult:
        """Simulate the whole trace and the requests that run at its end."""
        if self._scaler.metric != "fixed":
            self._at(float(self._chance.uniform(0, hpa.SYNC_SECONDS)), "sync", None)
        self._at(0.0, "note", None)
        for job in self._jobs():
            while self._events and self._events[0][0] <= job.arrived:
                self._happen()
            self._call(job)
        while self._events:
            self._happen()
        pod_seconds = sum(min(pod.exited_at, self._end) - pod.created for pod in self._all)
        return SimulationResult(self._arrivals, self._latencies, self._outcomes, tuple(self._snapshots), pod_seconds)

    def _jobs(self) -> Iterator[SimulatedRequest]:
        deadline = self._curve.deadline_seconds
        for number, (arrived, work) in enumerate(zip(self._arrivals.tolist(), self._works.tolist(), strict=True)):
            yield SimulatedRequest(number, arrived, arrived + deadline, work)

    def _at(self, time: float, what: str, subject: object) -> None:
        self._number += 1
        heappush(self._events, (time, self._number, what, subject))

    def _happen(self) -> None:
        time, _, what, subject = heappop(self._events)
        match what, subject:
            case "work", (Pod() as pod, int(version)):
                if version == pod.version:
                    self._work(pod, time)
            case "known", (int(gateway), Pod() as pod):
                if pod.terminated_at == inf:
                    self._known[gateway].append(pod)
            case "scrape", Pod() as pod:
                if pod.exited_at == inf and time < self._end:
                    pod.sample(time)
                    self._at(time + self._scaler.scrape_seconds, "scrape", pod)
            case "sync", _:
                if time < self._end:
                    self._sync(time)
                    self._at(time + hpa.SYNC_SECONDS, "sync", None)
            case "note", _:
                if time < self._end:
                    ready = sum(pod.ready <= time for pod in self._pods)
                    self._snapshots.append(ClusterSnapshot(time, ready, len(self._pods)))
                    self._at(time + hpa.SYNC_SECONDS, "note", None)

    def _call(self, job: SimulatedRequest) -> None:
        """Send a request to a random gateway, which selects its next pod."""
        gateway = job.number % self._around.gateways
        known = self._known[gateway]
        if not known:
            self._outcomes[job.number] = RequestOutcome.UNSERVED
            return
        turn = self._turns[gateway] = (self._turns[gateway] + 1) % len(known)
        pod = known[turn]
        if pod.offer(job):
            self._work(pod, job.arrived)
        else:
            self._outcomes[job.number] = RequestOutcome.REJECTED

    def _work(self, pod: Pod, now: float) -> None:
        for end in pod.work(now):
            self._ended(end)
        pod.version += 1
        following = pod.next()
        if following < inf:
            self._at(following, "work", (pod, pod.version))
        elif pod.terminated_at < inf and pod.idle:
            pod.exited_at = min(pod.exited_at, now)

    def _ended(self, end: Completion) -> None:
        if end.good:
            self._outcomes[end.job.number] = RequestOutcome.ANSWERED
            self._latencies[end.job.number] = end.time - end.job.arrived

    def _sync(self, now: float) -> None:
        current, behavior = len(self._pods), self._scaler.behavior
        reading = self._scaler.read(self._pods, now)
        wanted = hpa.recommend(reading, current, self._scaler.target, behavior.tolerance)
        wanted, self._history = hpa.scale(wanted, current, now, behavior, self._history)
        for _ in range(wanted - current):
            spread = self._around.start_spread
            self._begin(now, now + self._curve.start_seconds * float(self._chance.uniform(1 - spread, 1 + spread)))
        if wanted < current:
            # A ReplicaSet deletes pods that are not ready first, then those that became ready last.
            self._pods.sort(key=lambda pod: pod.ready)
            for pod in self._pods[wanted:]:
                self._leave(pod, now)
            del self._pods[wanted:]

    def _begin(self, created: float, ready: float) -> None:
        make = SlotPod if self._curve.kind == "slots" else BatchPod
        pod = make(self._curve, created, ready)
        self._pods.append(pod)
        self._all.append(pod)
        scrape = pod.ready + float(self._chance.uniform(0, self._scaler.scrape_seconds))
        self._at(scrape, "scrape", pod)
        # The end of any connection makes the gateway resolve the name again.
        lookup = max(DNS_SECONDS, self._around.connection_seconds / max(1, len(self._known[0])))
        for gateway, known in enumerate(self._known):
            if ready == 0.0:
                known.append(pod)
            else:
                self._at(ready + float(self._chance.uniform(0, lookup)), "known", (gateway, pod))

    def _leave(self, pod: Pod, now: float) -> None:
        pod.terminated_at = now
        for known in self._known:
            if pod in known:
                known.remove(pod)
        if pod.idle:
            pod.exited_at = now


def _works(spread: float, count: int, chance: np.random.Generator) -> NDArray[np.float64]:
    """The work of each request, lognormal with mean 1."""
    if not spread:
        return np.ones(count)
    variance = log(1 + spread**2)
    return chance.lognormal(-variance / 2, variance**0.5, count)

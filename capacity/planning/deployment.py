"""The services that a plan deploys, vLLM included, with the memory that their models need."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from capacity.errors import CapacityError
from capacity.planning.engines import COSTS, Device
from capacity.planning.gpus import Gpu
from capacity.planning.memory import Load, MemoryNeed, engine_of, need
from capacity.planning.packing import Sharing
from capacity.planning.precision import Name
from capacity.planning.replicas import SHARE
from capacity.planning.shapes import Shape, shape
from capacity.planning.training import TrainingRecipe
from servekit.errors import NotFound
from servekit.models import catalogue

VLLM = "vllm"


@dataclass(frozen=True)
class PlanRequest:
    """The input of a plan.

    Attributes:
        profile: A profile of the catalogue.
        gpu: The type of GPU; None for CPUs.
        load: The load of its models.
        quantization: The precision of language models; None for that of their shapes.
        rates: Requests per second by kind.
        share: The target utilization of a pod's engines.
        sharing: How services share GPUs.
        extra: Models in addition to the profile's.
        memory_bytes: The memory of the machine that runs everything on its CPU; 0 for no limit.
        adapt: A language model to fine-tune on such a GPU; empty for none.
        recipe: The parameters of the fine-tuning.
    """

    profile: str
    gpu: Gpu | None
    load: Load = field(default_factory=Load)
    quantization: Name | None = None
    rates: Mapping[str, float] = field(default_factory=dict)
    share: float = SHARE
    sharing: Sharing = "none"
    extra: tuple[str, ...] = ()
    memory_bytes: int = 0
    adapt: str = ""
    recipe: TrainingRecipe = field(default_factory=TrainingRecipe)


@dataclass(frozen=True)
class DeployedService:
    """A service or vLLM: the needs of the models on its device, and of those that stay off its GPU."""

    service: str
    needs: tuple[MemoryNeed, ...]
    off_gpu: tuple[MemoryNeed, ...] = ()

    @property
    def total(self) -> int:
        """The bytes of one replica."""
        return sum(row.total for row in self.needs)


def shapes_of(request: PlanRequest) -> dict[str, list[Shape]]:
    """The models by the service that runs them, in the order of the profile.

    Raises:
        CapacityError: The profile or the shape of a model is not known.
    """
    try:
        profile = catalogue.profile(request.profile)
    except NotFound as error:
        raise CapacityError(f"--profile: {error}") from error
    rows = [(name, shape(model)) for name, row in profile.services.items() for model in row.models]
    rows += [(row.services[0], row) for row in map(shape, request.extra)]
    found: dict[str, list[Shape]] = {}
    for service, row in rows:  # vLLM is a server of its own; every other engine runs within its service
        place = VLLM if engine_of(row, request.quantization) == "vllm" else service
        found.setdefault(place, []).append(row)
    return found


def deployed(name: str, shapes: list[Shape], request: PlanRequest) -> DeployedService:
    """One service with its needs.

    Raises:
        CapacityError: See `need`.
    """
    needs: list[MemoryNeed] = []
    off_gpu: list[MemoryNeed] = []
    for row in shapes:
        engine = engine_of(row, request.quantization)
        off = request.gpu is not None and (row.cpu_only or (engine, "gpu") not in COSTS)
        rows = off_gpu if off else needs
        device: Device = "cpu" if off or request.gpu is None else "gpu"
        rows.append(need(row, request.load, device, request.quantization, first=not rows))
    return DeployedService(name, tuple(needs), tuple(off_gpu))

"""Tables of a plan."""

from collections.abc import Iterator

from rich.table import Column, Table

from capacity.planning.gpus import MIB, USABLE, Gpu
from capacity.planning.memory import GB, MemoryNeed
from capacity.planning.plan import Plan
from capacity.planning.replicas import OfferedLoad
from capacity.planning.training import TrainingPlan


def tables(plan: Plan) -> Iterator[Table]:
    """All tables, in order."""
    yield memory(plan)
    if plan.request.gpu:
        yield sharing(plan, plan.request.gpu)
    if plan.speeds:
        yield speeds(plan)
    if plan.offered_loads:
        yield replicas(plan)
    if plan.training:
        yield training(plan, plan.training)


def memory(plan: Plan) -> Table:
    """The memory of each model by part, in 10^9 bytes."""
    gpu = plan.request.gpu
    names = ("weights", "KV cache", "activations", "engine")
    right = [Column(name, justify="right") for name in (*names, "GB")]
    last = [Column("of it", justify="right")] if gpu else []
    load = plan.request.load
    where = f"on {gpu.title}" if gpu else "on a CPU"
    title = f"Memory {where}, {_texts(load.concurrency)} of {load.context:,} tokens at once"
    table = Table("service", "model", "runs on", "kept as", *right, *last, title=title, box=None)
    for row in plan.services:
        for one in row.needs:
            share = [f"{one.total / (gpu.memory_mib * MIB):.0%}"] if gpu else []
            table.add_row(row.service, *_cells(one, names), *share)
        for one in row.off_gpu:
            table.add_row(row.service, *_cells(one, names), *(["CPU"] if gpu else []))
    if not gpu:
        total = sum(row.total for row in plan.services)
        table.add_row("together", "", "", "", *([""] * len(names)), f"{total / GB:.2f}")
    return table


def _texts(count: int) -> str:
    return f"{count} texts" if count > 1 else "1 text"


def _cells(one: MemoryNeed, names: tuple[str, ...]) -> list[str]:
    sizes = [f"{one.parts[name] / GB:.2f}" for name in names]
    return [one.model, one.engine, one.precision, *sizes, f"{one.total / GB:.2f}"]


def sharing(plan: Plan, gpu: Gpu) -> Table:
    """One GPU for each service, and the savings of sharing."""
    title = f"GPUs for one replica each; a plan fills {USABLE:.0%} of one, {gpu.usable / GB:.1f} GB"
    table = Table("how", Column("GPUs", justify="right"), "which", title=title, box=None)
    used = [row.service for row in plan.services if row.needs]
    packing = plan.packing
    if packing is None:
        return table
    table.add_row("one each", str(len(used)), ", ".join(used))
    table.add_row("time-sliced", str(len(packing.shared)), _groups(packing.shared))
    if packing.cut:
        slices = {name: f"{name} {packing.slices[name]}" for group in packing.cut for name in group}
        cut = tuple(tuple(slices[name] for name in group) for group in packing.cut)
        table.add_row("MIG", str(len(packing.cut)), _groups(cut))
    elif gpu.mig:
        without = [name for name, profile in packing.slices.items() if profile is None]
        table.add_row("MIG", "-", f"no slice holds {', '.join(without)}")
    else:
        table.add_row("MIG", "-", "this GPU has none")
    return table


def _groups(groups: tuple[tuple[str, ...], ...]) -> str:
    return " | ".join(" + ".join(group) for group in groups)


def speeds(plan: Plan) -> Table:
    """Bounds on the speed of language models."""
    columns = [Column(name, justify="right") for name in ("one text", _texts(plan.request.load.concurrency), "reading")]
    title = "Tokens a second at most of a whole GPU (bounds from bandwidth and arithmetic, not forecasts)"
    table = Table("model", *columns, title=title, box=None)
    for row in plan.speeds:
        table.add_row(row.model, f"{row.alone:,.0f}", f"{row.together:,.0f}", f"{row.reading:,.0f}")
    return table


def replicas(plan: Plan) -> Table:
    """Pods for the given rates, and the source of each curve."""
    names = ("calls/s", "a full pod", f"pods at {plan.request.share:.0%}", "replicas")
    columns = [Column(name, justify="right") for name in names]
    known = plan.curves
    title = f"Replicas, by the curves of: {known.title} ({known.machine}, {known.date})" if known else "Replicas"
    table = Table("kind", "service", *columns, "bound by", "from", title=title, box=None)
    for row in plan.offered_loads:
        pods = row.pods(plan.request.share)
        cells = (f"{row.rate:g}", f"{row.full:.2f}/s", f"{pods:.2f}", str(plan.replicas[row.service]))
        table.add_row(row.kind, row.service, *cells, _bound(row), row.curve.source)
    return table


def _bound(row: OfferedLoad) -> str:
    if row.full < row.curve.rate:
        return "bandwidth"
    return f"curve, {_texts(row.curve.engines)}" if row.curve.tokens else "curve"


def training(plan: Plan, found: TrainingPlan) -> Table:
    """The memory of fine-tuning a model."""
    recipe = plan.request.recipe
    columns = [Column(name, justify="right") for name in (*found.parts, "GB")]
    title = f"To adapt by QLoRA, rank {recipe.rank}, {recipe.tokens:,} tokens a step"
    table = Table("model", *columns, title=title, box=None)
    table.add_row(found.model, *(f"{size / GB:.2f}" for size in found.parts.values()), f"{found.total / GB:.2f}")
    return table

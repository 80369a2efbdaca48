"""Models of a task, found by any of their names."""

import pytest

from servekit.errors import NotFound
from servekit.models.catalogue import ModelSpec
from servekit.tasks.repository import Models


class Scheduler:
    """As much of a scheduler as a name needs."""

    def __init__(self, name, *aliases):
        self.spec = ModelSpec(
            id=name, task="embed", services=("retrieval",), runtime="t", title="t", licence="CC0-1.0", memory_mb=1,
            aliases=aliases,
        )  # fmt: skip


async def test_an_empty_name_is_the_first_and_an_alias_is_its_model():
    first, second = Scheduler("a"), Scheduler("b", "b-1")
    models = Models([first, second])
    assert (models.get(), models.get("b"), models.get("b-1")) == (first, second, second)
    assert list(models) == [first, second]
    async with models.acquire("b-1") as scheduler:
        assert scheduler is second


def test_an_unknown_name_is_not_found_and_the_field_named():
    for models in (Models([Scheduler("a")]), Models([])):
        with pytest.raises(NotFound) as caught:
            models.get("gpt-9", field="engine")
        assert caught.value.field == "engine"
    with pytest.raises(NotFound, match="available: none"):
        Models([]).get("")

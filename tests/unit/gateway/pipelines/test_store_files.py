"""Attaching and detaching files: what searches find is what the records list, whatever fails and whoever is killed."""

import asyncio
from dataclasses import replace

import pytest
from pydantic import SecretStr

from gateway.pipelines import store_files
from gateway.pipelines.store_passages import write_passages
from gateway.records.rows import FileChange, IndexedFile, VectorStoreRecord
from servekit.context import RequestContext, current, enter
from servekit.errors import NotFound, Unavailable
from tests.watching import until

FILE = IndexedFile("vs_1", "f-1", "a.txt", 5, 3, 1, {"version": "1"})
PASSAGES = ("one", "two", "three")


@pytest.fixture(params=["memory", "postgresql"])
async def gateways(request, build, retrieval):
    """Two gateways with the same records, and a vector store."""
    if request.param == "memory":
        gateways = [build()] * 2
    else:
        url = SecretStr(request.getfixturevalue("database_url"))
        gateways = [build(database_url=url) for _ in range(2)]
    for gateway in gateways:
        await gateway.records.start()
    await until(lambda: all(gateway.records.ready for gateway in gateways))
    await gateways[0].records.add_vector_store("default", VectorStoreRecord("vs_1", "docs", 1, {}))
    retrieval.points["default", "vs_1"] = {}
    yield gateways
    for gateway in gateways:
        await gateway.records.stop()


@pytest.fixture
def versions(gateways, retrieval):
    """Returns the version of each passage that searches find, and of each file that is listed."""

    async def versions():
        points = retrieval.points["default", "vs_1"].values()
        listed = await gateways[0].records.indexed("default", "vs_1")
        return [point.metadata["attributes"]["version"] for point in points], [
            file.attributes["version"] for file in listed
        ]

    return versions


def version(number):
    return replace(FILE, attributes={"version": number})


async def attach(gateway, number="1"):
    await gateway.store_files.attach("default", version(number), PASSAGES)


async def detach(gateway):
    await gateway.store_files.detach("default", "vs_1", "f-1")


async def killed(gateway, change, *, after_writing):
    """Leave a change as a gateway does that is killed before or after it has written the passages."""
    assert await gateway.records.begin_change("default", change, 0)
    if after_writing:
        await write_passages(gateway.clients, change.id, change.attached, PASSAGES)


async def test_a_file_is_attached_replaced_and_detached(gateways, versions):
    await attach(gateways[0], "1")
    assert await versions() == (["1"] * 3, ["1"])
    await attach(gateways[1], "2")
    assert await versions() == (["2"] * 3, ["2"])
    await detach(gateways[0])
    assert await versions() == ([], [])


async def test_changes_of_a_file_at_the_same_time_leave_passages_that_agree_with_the_record(
    gateways, versions, orders, monkeypatch
):
    monkeypatch.setattr(store_files, "POLL_SECONDS", 0.01)
    for number in range(6):
        # Each in turn ends the writing of its passages first.
        orders.seconds = {"ReplacePoints": 0.03 * (number % 2), "Delete": 0.03 * (number % 3)}
        calls = attach(gateways[0], "1"), detach(gateways[1]), attach(gateways[1], "2"), detach(gateways[0])
        await asyncio.gather(*calls)
        found, listed = await versions()
        assert found == listed * 3


@pytest.mark.parametrize("earlier", [[], ["1"]])
@pytest.mark.parametrize("after_writing", [False, True])
async def test_the_attachment_of_a_killed_gateway_is_completed_or_leaves_nothing(
    gateways, versions, earlier, after_writing
):
    for number in earlier:
        await attach(gateways[0], number)
    change = FileChange("change_1", "vs_1", "f-1", version("2"))
    await killed(gateways[0], change, after_writing=after_writing)
    assert (await versions())[1] == earlier
    assert await gateways[1].store_files.sweep("default") == 1
    left = ["2"] if after_writing else earlier
    assert await versions() == (left * 3, left)
    assert await gateways[1].store_files.sweep("default") == 0


@pytest.mark.parametrize("after_writing", [False, True])
async def test_a_file_is_attached_again_after_its_gateway_was_killed(gateways, versions, after_writing):
    await killed(gateways[0], FileChange("change_1", "vs_1", "f-1", version("1")), after_writing=after_writing)
    await attach(gateways[1], "2")
    assert await versions() == (["2"] * 3, ["2"])


async def test_the_detachment_of_a_killed_gateway_is_completed(gateways, versions):
    await attach(gateways[0])
    await killed(gateways[0], FileChange("change_1", "vs_1", "f-1", None), after_writing=False)
    assert await gateways[1].store_files.sweep("default") == 1
    assert await versions() == ([], [])


async def test_a_change_is_ended_once_retrieval_answers(gateways, versions, orders, monkeypatch):
    monkeypatch.setattr(store_files, "SETTLE_SECONDS", 0.0)
    await killed(gateways[0], FileChange("change_1", "vs_1", "f-1", FILE), after_writing=True)
    orders.fail["DescribeCollection"] = Unavailable("the database does not answer")
    assert await gateways[1].store_files.sweep("default") == 0
    orders.fail.clear()
    assert await gateways[1].store_files.sweep("default") == 1
    assert await versions() == (["1"] * 3, ["1"])


async def test_every_tenant_is_swept_as_itself(gateways, versions, orders):
    await gateways[0].records.add_vector_store("ada", VectorStoreRecord("vs_2", "", 1, {}))
    await killed(gateways[0], FileChange("change_1", "vs_1", "f-1", FILE), after_writing=True)
    enter(RequestContext("nobody"))
    await asyncio.create_task(gateways[1].store_files.sweep_all())
    assert await versions() == (["1"] * 3, ["1"])
    assert current().tenant == "nobody"
    assert {tenant for rpc, tenant, _ in orders.seen if rpc == "DescribeCollection"} == {"default"}


async def test_a_long_attachment_keeps_its_lease(gateways, versions, retrieval, monkeypatch):
    monkeypatch.setattr(store_files, "LEASE_SECONDS", 1.5)
    extended, records = [], type(gateways[0].records)
    extend, replace_points = records.extend_change, retrieval.orders.obey

    async def count(self, tenant, change, seconds):
        extended.append(await extend(self, tenant, change, seconds))
        return extended[-1]

    async def slowly(name, request):
        await replace_points(name, request)
        if name == "ReplacePoints":
            await until(lambda: len(extended) >= 4)  # longer than one lease

    monkeypatch.setattr(records, "extend_change", count)
    monkeypatch.setattr(retrieval.orders, "obey", slowly)
    attaching = asyncio.create_task(attach(gateways[0]))
    while not attaching.done():
        assert await gateways[1].store_files.sweep("default") == 0
        await asyncio.sleep(0.05)
    await attaching
    assert extended[:4] == [True] * 4
    assert await versions() == (["1"] * 3, ["1"])


async def test_an_attachment_that_loses_its_lease_is_cancelled(gateways, versions, orders, monkeypatch):
    monkeypatch.setattr(store_files, "LEASE_SECONDS", 0.2)

    async def fail(self, tenant, change, seconds):
        raise Unavailable("the database does not answer")

    monkeypatch.setattr(type(gateways[0].records), "extend_change", fail)
    orders.seconds["ReplacePoints"] = 30
    with pytest.raises(Unavailable, match="did not answer while the file was attached"):
        await attach(gateways[0])
    await asyncio.wait_for(orders.left.wait(), 10)
    assert orders.cancelled == ["ReplacePoints"]
    assert await versions() == ([], [])


async def test_a_change_waits_for_a_limited_time(gateways, monkeypatch):
    monkeypatch.setattr(store_files, "WAIT_SECONDS", 0.0)
    assert await gateways[0].records.begin_change("default", FileChange("change_1", "vs_1", "f-1", FILE), 60)
    with pytest.raises(Unavailable, match="is being attached or detached: try again"):
        await detach(gateways[1])


async def test_a_file_of_a_deleted_vector_store_is_neither_attached_nor_left(gateways, retrieval):
    await gateways[0].records.remove_vector_store("default", "vs_1")
    with pytest.raises(NotFound) as raised:
        await attach(gateways[1])
    assert raised.value.field == "vector_store_id"
    assert retrieval.points["default", "vs_1"] == {}

"""`/v1/vector_stores`: collections of text files, indexed and searched."""

from collections.abc import Sequence
from contextlib import suppress

from google.protobuf import json_format
from polyphony.retrieval.v1.retrieval_pb2 import CreateCollectionRequest, DeleteCollectionRequest, SearchRequest
from starlette.responses import Response

from gateway.http.bodies import read_json
from gateway.http.endpoint import HandlerContext, Operation
from gateway.http.pages import read_limit
from gateway.http.responses import json_response
from gateway.pipelines.store_passages import metadata, split_document
from gateway.records.rows import IndexedFile, StoreUsage, VectorStoreRecord, fresh_id, now
from gateway.schemas.files import Deleted
from gateway.schemas.vector_stores import (
    AttachRequest,
    Attributes,
    CreateStoreRequest,
    FileCounts,
    FoundPassage,
    PassageText,
    StoreAnswer,
    StoreFileAnswer,
    StoreFileList,
    StoreList,
    StoreSearchAnswer,
    StoreSearchRequest,
)
from servekit.errors import ServeError

MAX_LISTED = 100  # vector stores or their files in one answer, with up to 16 attributes each


async def create_store(context: HandlerContext) -> Response:
    """Create a vector store and index the files that the request names."""
    state, tenant = context.state, context.caller.tenant
    model = state.models.resolve("embed", "", context.caller)
    body = await read_json(context.body, CreateStoreRequest, state.settings.max_json_body_bytes)
    for index, file_id in enumerate(body.file_ids):
        await state.records.file(tenant, file_id, f"file_ids[{index}]")
    record = VectorStoreRecord(fresh_id("vs_"), body.name, now(), body.metadata or {})
    # The record comes first: if a later step fails, even a cleanup past the deadline, the store can still be deleted.
    await state.records.add_vector_store(tenant, record)
    try:
        await state.clients.retrieval.CreateCollection(CreateCollectionRequest(name=record.id, space=model))
        for file_id in body.file_ids:
            await _index(context, record.id, file_id, {})
    except BaseException:  # the caller never learns the id of a store that is not complete, and may try again
        with suppress(ServeError):
            await _delete(context, record)
        raise
    return json_response(await _answer(context, record))


async def list_stores(context: HandlerContext) -> Response:
    """List the tenant's vector stores, newest first."""
    records, tenant, query = context.state.records, context.caller.tenant, context.request.query_params
    limit = read_limit(query, MAX_LISTED)
    after = await records.vector_store(tenant, query["after"], "after") if query.get("after") else None
    rows = await records.vector_stores(tenant, limit + 1, after)
    data = await _answers(context, rows[:limit])
    return json_response(StoreList(data, data[0].id, data[-1].id, len(rows) > limit) if data else StoreList([]))


async def get_store(context: HandlerContext) -> Response:
    """Describe a vector store."""
    return json_response(await _answer(context, await _store(context)))


async def delete_store(context: HandlerContext) -> Response:
    """Delete a vector store with its collection; its files are kept."""
    record = await _store(context)
    await _delete(context, record)
    return json_response(Deleted(record.id, "vector_store.deleted"))


async def attach_file(context: HandlerContext) -> Response:
    """Index a text file; it can be searched once the response is sent."""
    context.state.models.resolve("embed", "", context.caller)
    record = await _store(context)
    body = await read_json(context.body, AttachRequest, context.state.settings.max_json_body_bytes)
    indexed = await _index(context, record.id, body.file_id, body.attributes or {})
    return json_response(_file_answer(indexed))


async def list_store_files(context: HandlerContext) -> Response:
    """List the files of a vector store, newest first."""
    record = await _store(context)
    records, tenant, query = context.state.records, context.caller.tenant, context.request.query_params
    limit = read_limit(query, MAX_LISTED)
    after = await records.indexed_file(tenant, record.id, query["after"], "after") if query.get("after") else None
    rows = await records.indexed(tenant, record.id, limit + 1, after)
    data = [_file_answer(row) for row in rows[:limit]]
    return json_response(StoreFileList(data, data[0].id, data[-1].id, len(rows) > limit) if data else StoreFileList([]))


async def get_store_file(context: HandlerContext) -> Response:
    """Describe a file of a vector store."""
    return json_response(_file_answer(await _indexed(context)))


async def detach_file(context: HandlerContext) -> Response:
    """Delete a file's passages from a vector store; the file is kept."""
    state = context.state
    indexed = await _indexed(context)
    await state.store_files.detach(context.caller.tenant, indexed.store_id, indexed.file_id)
    return json_response(Deleted(indexed.file_id, "vector_store.file.deleted"))


async def search_store(context: HandlerContext) -> Response:
    """Search a vector store for the passages nearest to a query."""
    state = context.state
    state.models.resolve("embed", "", context.caller)
    record = await _store(context)
    body = await read_json(context.body, StoreSearchRequest, state.settings.max_json_body_bytes)
    queries = [body.query] if isinstance(body.query, str) else body.query
    request = SearchRequest(collection=record.id, text=" ".join(queries), limit=body.max_num_results)
    if body.ranking_options is not None and body.ranking_options.score_threshold is not None:
        request.min_score = body.ranking_options.score_threshold
    if body.filters is not None:
        request.filter.CopyFrom(metadata({"attributes": {body.filters.key: body.filters.value}}))
    found = await state.clients.retrieval.Search(request)
    data = []
    for hit in found.points:
        about = json_format.MessageToDict(hit.point.metadata)
        text = [PassageText(hit.point.text)]
        data.append(FoundPassage(about["file_id"], about["filename"], hit.score, about["attributes"], text))
    return json_response(StoreSearchAnswer(queries, data))


async def _store(context: HandlerContext) -> VectorStoreRecord:
    return await context.state.records.vector_store(
        context.caller.tenant, context.request.path_params["vector_store_id"]
    )


async def _delete(context: HandlerContext, record: VectorStoreRecord) -> None:
    """Delete a store's collection, if it exists, and then its record: a deletion that fails can be repeated."""
    state, request = context.state, DeleteCollectionRequest(collection=record.id, allow_missing=True)
    await state.clients.retrieval.DeleteCollection(request)
    await state.records.remove_vector_store(context.caller.tenant, record.id)


async def _indexed(context: HandlerContext) -> IndexedFile:
    record = await _store(context)
    return await context.state.records.indexed_file(
        context.caller.tenant, record.id, context.request.path_params["file_id"]
    )


async def _index(context: HandlerContext, store_id: str, file_id: str, attributes: Attributes) -> IndexedFile:
    state, tenant = context.state, context.caller.tenant
    file = await state.records.file(tenant, file_id)
    largest, tokens = state.settings.max_document_bytes, state.settings.max_passage_tokens
    async with state.body_budgets.memory.held(tenant, min(file.size, largest)):
        content = await state.store.read(tenant, file.reference, largest, "file_id")
        passages = await split_document(content, tokens)
        indexed = IndexedFile(store_id, file.id, file.filename, file.size, len(passages), now(), attributes)
        await state.store_files.attach(tenant, indexed, passages)
    return indexed


async def _answer(context: HandlerContext, record: VectorStoreRecord) -> StoreAnswer:
    return (await _answers(context, [record]))[0]


async def _answers(context: HandlerContext, records: Sequence[VectorStoreRecord]) -> list[StoreAnswer]:
    usage = await context.state.records.usage(context.caller.tenant, [record.id for record in records])
    return [_store_answer(record, usage.get(record.id, StoreUsage())) for record in records]


def _store_answer(record: VectorStoreRecord, usage: StoreUsage) -> StoreAnswer:
    counts = FileCounts(usage.files, usage.files)
    return StoreAnswer(record.id, record.name, record.created_at, usage.size, counts, dict(record.metadata))


def _file_answer(row: IndexedFile) -> StoreFileAnswer:
    return StoreFileAnswer(row.file_id, row.store_id, row.created_at, row.size, dict(row.attributes))


_ONE = "/v1/vector_stores/{vector_store_id}"
_FILES = f"{_ONE}/files"
OPERATIONS = (
    Operation(
        "POST",
        "/v1/vector_stores",
        "createVectorStore",
        create_store,
        "Create vector store",
        seconds="file_timeout_seconds",
        body=CreateStoreRequest,
        answer=StoreAnswer,
    ),
    Operation(
        "GET", "/v1/vector_stores", "listVectorStores", list_stores, "List vector stores", answer=StoreList, pages=True
    ),
    Operation("GET", _ONE, "getVectorStore", get_store, "Retrieve vector store", answer=StoreAnswer),
    Operation("DELETE", _ONE, "deleteVectorStore", delete_store, "Delete vector store", answer=Deleted),
    Operation(
        "POST",
        _FILES,
        "createVectorStoreFile",
        attach_file,
        "Create vector store file",
        seconds="file_timeout_seconds",
        body=AttachRequest,
        answer=StoreFileAnswer,
    ),
    Operation(
        "GET",
        _FILES,
        "listVectorStoreFiles",
        list_store_files,
        "List vector store files",
        answer=StoreFileList,
        pages=True,
    ),
    Operation(
        "GET",
        f"{_FILES}/{{file_id}}",
        "getVectorStoreFile",
        get_store_file,
        "Retrieve vector store file",
        answer=StoreFileAnswer,
    ),
    Operation(
        "DELETE",
        f"{_FILES}/{{file_id}}",
        "deleteVectorStoreFile",
        detach_file,
        "Delete vector store file",
        answer=Deleted,
    ),
    Operation(
        "POST",
        f"{_ONE}/search",
        "searchVectorStore",
        search_store,
        "Search vector store",
        body=StoreSearchRequest,
        answer=StoreSearchAnswer,
    ),
)

"""`/v1/files`: uploaded files, stored until they are deleted or expire."""

from collections.abc import AsyncGenerator
from dataclasses import replace

from starlette.responses import Response

from gateway.http.endpoint import HandlerContext, Operation
from gateway.http.forms import Part, read_form
from gateway.http.responses import ByteStream, json_response
from gateway.media.resolver import FILE_PREFIX
from gateway.records import FileRecord, fresh_id, now
from gateway.schemas.files import Deleted, FileAnswer, FileForm, FileList
from servekit.errors import InvalidArgument

MAX_FILENAME = 255  # characters


async def upload(context: HandlerContext) -> Response:
    """Upload a file. It is streamed to the object store while it arrives."""
    state = context.state
    form, kept = await read_form(
        context.request, state.settings.max_file_bytes, FileForm, lambda part: _keep(context, part)
    )
    expires_at = kept.created_at + form.expires_after.seconds if form.expires_after else None
    record = replace(kept, purpose=form.purpose, expires_at=expires_at)
    await state.records.add_file(context.caller.tenant, record)
    return json_response(_answer(record))


async def _keep(context: HandlerContext, part: Part) -> FileRecord:
    if len(part.filename) > MAX_FILENAME:
        raise InvalidArgument(f"filename must have at most {MAX_FILENAME} characters", field="file")
    store, tenant = context.state.store, context.caller.tenant
    reference = await store.put(tenant, part, part.mime_type, None, max_bytes=context.state.settings.max_file_bytes)
    metadata = await store.metadata(tenant, reference)
    if not metadata.size:
        raise InvalidArgument("file must not be empty", field="file")
    return FileRecord(fresh_id(FILE_PREFIX), part.filename, metadata.size, metadata.mime_type, "", reference, now())


async def list_files(context: HandlerContext) -> Response:
    """List the files, newest first; only those of one `purpose` if the query has it."""
    purpose = context.request.query_params.get("purpose")
    records = await context.state.records.files(context.caller.tenant)
    data = [_answer(record) for record in records if purpose in (None, record.purpose)]
    return json_response(FileList(data, data[0].id, data[-1].id) if data else FileList([]))


async def get_file(context: HandlerContext) -> Response:
    """Retrieve the record of a file."""
    return json_response(_answer(await _record(context)))


async def get_content(context: HandlerContext) -> Response:
    """Retrieve the bytes of a file."""
    record = await _record(context)

    async def chunks() -> AsyncGenerator[bytes]:
        async for chunk in context.state.store.stream(context.caller.tenant, record.reference, "file_id"):
            yield chunk

    response = ByteStream(chunks(), record.mime_type)
    # The uploader chose the bytes and their type: a browser keeps them, and never shows them as a page of ours.
    response.headers.update({"content-disposition": "attachment", "x-content-type-options": "nosniff"})
    return response


async def delete_file(context: HandlerContext) -> Response:
    """Delete a file. Its passages stay in the vector stores that indexed it."""
    record = await _record(context)
    await context.state.records.remove_file(context.caller.tenant, record)
    return json_response(Deleted(record.id, "file"))


async def _record(context: HandlerContext) -> FileRecord:
    return await context.state.records.file(context.caller.tenant, context.request.path_params["file_id"])


def _answer(record: FileRecord) -> FileAnswer:
    answer = FileAnswer(record.id, record.size, record.created_at, record.filename, record.purpose)
    if record.expires_at is not None:
        answer.expires_at = record.expires_at
    return answer


OPERATIONS = (
    Operation(
        "POST",
        "/v1/files",
        "createFile",
        upload,
        "Upload file",
        seconds="file_timeout_seconds",
        form=FileForm,
        answer=FileAnswer,
    ),
    Operation("GET", "/v1/files", "listFiles", list_files, "List files", answer=FileList),
    Operation("GET", "/v1/files/{file_id}", "retrieveFile", get_file, "Retrieve file", answer=FileAnswer),
    Operation(
        "GET",
        "/v1/files/{file_id}/content",
        "downloadFile",
        get_content,
        "Retrieve file content",
        seconds="file_timeout_seconds",
        answer_type="application/octet-stream",
    ),
    Operation("DELETE", "/v1/files/{file_id}", "deleteFile", delete_file, "Delete file", answer=Deleted),
)

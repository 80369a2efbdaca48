"""`/v1/files`: uploaded files, stored until they are deleted or expire."""

from collections.abc import AsyncGenerator
from dataclasses import replace

from starlette.responses import Response

from gateway.http.endpoint import HandlerContext, Operation
from gateway.http.forms import Part, read_form
from gateway.http.pages import read_limit
from gateway.http.responses import ByteStream, json_response
from gateway.records.rows import FileRecord
from gateway.schemas.files import Deleted, FileAnswer, FileForm, FileList
from servekit.errors import InvalidArgument

MAX_FILENAME = 255  # characters
MAX_LISTED = 1000  # files in one answer, which take the event loop 5 ms


async def upload(context: HandlerContext) -> Response:
    """Upload a file, which is streamed to the object store."""
    state, tenant = context.state, context.caller.tenant
    uploads: list[FileRecord] = []

    async def take(part: Part) -> FileRecord:
        if uploads:
            raise InvalidArgument("the form must have one file, got two", field="file")
        if len(part.filename) > MAX_FILENAME:
            raise InvalidArgument(f"filename must have at most {MAX_FILENAME} characters", field="file")
        max_bytes = state.settings.max_file_bytes
        uploads.append(await state.files.receive(tenant, part, part.filename, part.mime_type, max_bytes=max_bytes))
        return uploads[0]

    try:
        form, received = await read_form(context, state.settings.max_file_bytes, FileForm, take)
        expires_at = received.created_at + form.expires_after.seconds if form.expires_after else None
        record = replace(received, purpose=form.purpose, expires_at=expires_at)
        await state.records.finish_upload(tenant, record)
    except BaseException:  # the upload is not acknowledged, so its bytes are not kept
        for record in uploads:
            await state.files.abandon(tenant, record)
        raise
    return json_response(_answer(record))


async def list_files(context: HandlerContext) -> Response:
    """List the files, newest first; only those of one `purpose` if the query has it."""
    records, tenant, query = context.state.records, context.caller.tenant, context.request.query_params
    limit = read_limit(query, MAX_LISTED)
    after = await records.file(tenant, query["after"], "after") if query.get("after") else None
    rows = await records.files(tenant, limit + 1, after, query.get("purpose", ""))
    data = [_answer(row) for row in rows[:limit]]
    return json_response(FileList(data, data[0].id, data[-1].id, len(rows) > limit) if data else FileList([]))


async def get_file(context: HandlerContext) -> Response:
    """Retrieve the record of a file."""
    return json_response(_answer(await _record(context)))


async def get_content(context: HandlerContext) -> Response:
    """Retrieve the bytes of a file."""
    record = await _record(context)

    async def chunks() -> AsyncGenerator[bytes]:
        async for chunk in context.state.store.stream(context.caller.tenant, record.reference, "file_id", record.size):
            yield chunk

    response = ByteStream(chunks(), record.mime_type)
    # The uploader chose the bytes and their type: a browser keeps them, and never shows them as a page of ours.
    response.headers.update({"content-disposition": "attachment", "x-content-type-options": "nosniff"})
    return response


async def delete_file(context: HandlerContext) -> Response:
    """Delete a file. Its passages stay in the vector stores that indexed it."""
    file_id = context.request.path_params["file_id"]
    await context.state.files.delete(context.caller.tenant, file_id)
    return json_response(Deleted(file_id, "file"))


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
    Operation("GET", "/v1/files", "listFiles", list_files, "List files", answer=FileList, pages=True),
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

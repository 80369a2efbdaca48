"""The client of a gateway: chat, images, files and vector stores, and what `AudioClient` has."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

from client.audio import AudioClient
from client.errors import GatewayError, value_at

TEXT = "text/plain"


class GatewayClient(AudioClient):
    """One gateway: all calls, those about audio included."""

    async def chat(self, messages: list[dict[str, Any]], max_tokens: int) -> str:
        """The most likely answer to a conversation."""
        body = {"messages": messages, "temperature": 0, "max_completion_tokens": max_tokens}
        answer = await self.json("POST", "/v1/chat/completions", json=body)
        return str(value_at(answer, "choices", 0, "message", "content"))

    async def read_text(self, image: bytes, mime_type: str) -> str:
        """The text of an image, line by line."""
        headers = {"content-type": mime_type}
        return str(value_at(await self.json("POST", "/v1/vision/read", content=image, headers=headers), "text"))

    async def upload(self, name: str, data: bytes, mime_type: str = TEXT, expires_seconds: int = 0) -> str:
        """The id of a new file; one with `expires_seconds` is deleted after that time."""
        fields = {"purpose": "assistants"}
        if expires_seconds:
            fields |= {"expires_after[anchor]": "created_at", "expires_after[seconds]": str(expires_seconds)}
        answer = await self.json("POST", "/v1/files", files={"file": (name, data, mime_type)}, data=fields)
        return str(value_at(answer, "id"))

    @asynccontextmanager
    async def vector_store(self, name: str, files: Mapping[str, bytes], expires_seconds: int = 0) -> AsyncIterator[str]:
        """The id of a vector store of these text files, which is deleted with them at the end of the block.

        Args:
            name: The name of the store.
            files: The contents, by file name.
            expires_seconds: When the files are deleted if the block never ends; 0 for never.
        """
        created: list[str] = []
        try:
            file_ids = []
            for filename, data in files.items():
                file_ids.append(await self.upload(filename, data, expires_seconds=expires_seconds))
                created.append(f"/v1/files/{file_ids[-1]}")
            answer = await self.json("POST", "/v1/vector_stores", json={"name": name, "file_ids": file_ids})
            store_id = str(value_at(answer, "id"))
            created.append(f"/v1/vector_stores/{store_id}")
            yield store_id
        finally:
            for path in reversed(created):
                with suppress(GatewayError):
                    await self.send("DELETE", path)

    async def search(self, store_id: str, query: str, limit: int) -> list[str]:
        """The file names of the first `limit` passages, best first."""
        body = {"query": query, "max_num_results": limit}
        found = value_at(await self.json("POST", f"/v1/vector_stores/{store_id}/search", json=body), "data")
        return [str(value_at(passage, "filename")) for passage in found]

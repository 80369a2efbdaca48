"""What the handlers of the gateway share, built once per process."""

import asyncio
from dataclasses import dataclass, field
from typing import Self

from gateway.auth import Keys
from gateway.budget import BodyBudgets, Budget
from gateway.clients import Clients
from gateway.media.cache import ResultCache
from gateway.media.fetch import Fetcher
from gateway.media.files import Files
from gateway.media.resolver import Fetching, MediaResolver
from gateway.models import ModelDirectory
from gateway.pipelines.chat import ChatPipeline
from gateway.pipelines.context_builder import ContextBuilder
from gateway.pipelines.prompt import PromptTemplate, TokenBudgets
from gateway.pipelines.store_files import StoreFiles
from gateway.records import Records, open_records
from gateway.settings import GatewaySettings
from servekit.media.objects import ObjectStore
from servekit.ops.telemetry import Telemetry

TEMPLATE = "chat-1"


@dataclass(frozen=True, slots=True)
class AppState:
    """The settings, clients, stores and pipelines that every handler uses.

    Attributes:
        shutting_down: Set once the process begins to shut down.
    """

    settings: GatewaySettings
    telemetry: Telemetry
    keys: Keys
    models: ModelDirectory
    clients: Clients
    store: ObjectStore
    records: Records
    files: Files
    store_files: StoreFiles
    media_resolver: MediaResolver
    chat: ChatPipeline
    body_budgets: BodyBudgets
    realtime_sessions: Budget
    shutting_down: asyncio.Event = field(default_factory=asyncio.Event)

    @classmethod
    def build(
        cls, settings: GatewaySettings, telemetry: Telemetry, clients: Clients, fetcher: Fetching | None = None
    ) -> Self:
        """Build the state.

        Args:
            fetcher: Downloads the bytes behind a URL; a `Fetcher` by the settings if None.

        Raises:
            SystemExit: The keys file is invalid.
            NotFound: The catalogue has no such profile.
            FailedPrecondition: The database URL has another scheme than `postgresql:` and `memory:`.
        """
        store = ObjectStore(settings.object_store_url)
        records = open_records(settings.database_url.get_secret_value(), settings.max_database_connections)
        bodies = BodyBudgets.build(settings, telemetry)
        sessions = Budget(settings.max_realtime_sessions, telemetry.realtime_sessions)
        models = ModelDirectory.of_profile(settings.profile, settings.catalogue)
        fetcher = fetcher or Fetcher(
            allow=settings.fetch_allowed_hosts,
            max_bytes=settings.max_fetch_bytes,
            timeout=settings.fetch_timeout_seconds,
            memory=bodies.memory,
        )
        media_resolver = MediaResolver(store, records, fetcher, settings.max_inline_media_bytes)
        budgets = TokenBudgets(
            settings.max_image_text_tokens, settings.max_transcript_tokens, settings.max_passage_tokens
        )
        template = PromptTemplate(TEMPLATE, budgets)
        cache = ResultCache(settings.max_cached_results)
        context_builder = ContextBuilder(clients, media_resolver, records, cache, settings)
        chat = ChatPipeline(clients, models, context_builder, template, settings, telemetry)
        keys = Keys.read(settings.keys_file)
        files, store_files = Files(store, records), StoreFiles(clients, records)
        return cls(
            settings,
            telemetry,
            keys,
            models,
            clients,
            store,
            records,
            files,
            store_files,
            media_resolver,
            chat,
            bodies,
            sessions,
        )

"""The tables of the gateway's records."""

from servekit.database.schema import Schema, isolate_tenants

SCHEMA = Schema(
    "gateway",
    (
        """
        -- Names only, visible to every transaction, so that a sweep can visit each tenant.
        CREATE TABLE gateway.tenants (name text PRIMARY KEY);

        -- Bytes in the object store. A row that files refer to cannot be deleted.
        CREATE TABLE gateway.objects (
            tenant text NOT NULL REFERENCES gateway.tenants,
            digest text NOT NULL,
            PRIMARY KEY (tenant, digest)
        );

        CREATE TABLE gateway.files (
            tenant text NOT NULL,
            id text NOT NULL,
            filename text NOT NULL,
            size bigint NOT NULL,
            mime_type text NOT NULL,
            purpose text NOT NULL,
            digest text NOT NULL,
            created_at bigint NOT NULL,
            expires_at bigint,
            uploading boolean NOT NULL,
            PRIMARY KEY (tenant, id),
            FOREIGN KEY (tenant, digest) REFERENCES gateway.objects
        );
        CREATE INDEX ON gateway.files (tenant, digest);
        CREATE INDEX ON gateway.files (tenant, created_at);
        CREATE INDEX ON gateway.files (tenant, expires_at) WHERE expires_at IS NOT NULL;

        CREATE TABLE gateway.vector_stores (
            tenant text NOT NULL REFERENCES gateway.tenants,
            id text NOT NULL,
            name text NOT NULL,
            created_at bigint NOT NULL,
            metadata jsonb NOT NULL,
            PRIMARY KEY (tenant, id)
        );

        CREATE TABLE gateway.vector_store_files (
            tenant text NOT NULL,
            store_id text NOT NULL,
            file_id text NOT NULL,
            filename text NOT NULL,
            size bigint NOT NULL,
            chunks integer NOT NULL,
            created_at bigint NOT NULL,
            attributes jsonb NOT NULL,
            PRIMARY KEY (tenant, store_id, file_id),
            FOREIGN KEY (tenant, store_id) REFERENCES gateway.vector_stores ON DELETE CASCADE
        );
        """
        + isolate_tenants("gateway.objects")
        + isolate_tenants("gateway.files")
        + isolate_tenants("gateway.vector_stores")
        + isolate_tenants("gateway.vector_store_files"),
        """
        -- Attachments and detachments of files that have not ended; at most one of a file at a time.
        CREATE TABLE gateway.vector_store_changes (
            tenant text NOT NULL,
            store_id text NOT NULL,
            file_id text NOT NULL,
            id text NOT NULL,
            attached jsonb,
            late_at timestamptz NOT NULL,
            PRIMARY KEY (tenant, store_id, file_id),
            FOREIGN KEY (tenant, store_id) REFERENCES gateway.vector_stores ON DELETE CASCADE
        );
        """
        + isolate_tenants("gateway.vector_store_changes"),
    ),
    role="polyphony_gateway",
)

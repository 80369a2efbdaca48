"""The role that a process assumes in the database, so that row-level security applies to it."""

import psycopg
from psycopg import sql

from servekit.errors import FailedPrecondition


async def ensure_role(connection: psycopg.AsyncConnection, role: str) -> None:
    """Create a role and grant it to the login of `connection`, unless that is done.

    Raises:
        FailedPrecondition: The login may not create or grant the role, or row-level security does not apply to it.
    """
    if not await _may_assume(connection, role):
        name, login = sql.Identifier(role), sql.Identifier(connection.info.user)
        create = sql.SQL("CREATE ROLE {} NOLOGIN").format(name)
        grant = sql.SQL("GRANT {} TO {}").format(name, login)
        try:
            async with connection.transaction():
                if await _properties(connection, role) is None:
                    await connection.execute(create)
                await connection.execute(grant)
        except psycopg.errors.InsufficientPrivilege as error:
            statements = f"{create.as_string(connection)}; {grant.as_string(connection)};"
            raise FailedPrecondition(
                f"the database must have the role {role}, granted to {connection.info.user}, which may not create it: "
                f"let an administrator run {statements}",
                field="database_url",
            ) from error
    if await _properties(connection, role) != (False, False):
        raise FailedPrecondition(
            f"the role {role} must be neither a superuser nor have BYPASSRLS: row-level security ignores such roles",
            field="database_url",
        )


async def _may_assume(connection: psycopg.AsyncConnection, role: str) -> bool:
    if await _properties(connection, role) is None:
        return False
    try:
        async with connection.transaction(force_rollback=True):
            await connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(role)))
    except psycopg.errors.InsufficientPrivilege:
        return False
    return True


async def _properties(connection: psycopg.AsyncConnection, role: str) -> tuple[bool, bool] | None:
    """Whether a role is a superuser, and whether it has BYPASSRLS; None where there is no such role."""
    statement = "SELECT rolsuper, rolbypassrls FROM pg_roles WHERE rolname = %s"
    row: tuple[bool, bool] | None = await (await connection.execute(statement, (role,))).fetchone()
    return row

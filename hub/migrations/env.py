"""How Alembic reaches the hub's database: always through a connection of hub.database, never by a URL of its own."""

from alembic import context

from hub.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
    render_as_batch=True,
)
context.run_migrations()

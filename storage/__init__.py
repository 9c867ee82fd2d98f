"""SQL only: the stream, the committer, one module per feature, migrations. SQLite and PostgreSQL behind one interface."""

__project__ = "hearth"

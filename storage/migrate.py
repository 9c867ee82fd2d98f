"""Migrations: numbered SQL files, applied in order, each in one transaction.

``migrations/NNNN_<feature>.sql`` is read by both engines; where they must differ there are two
files, ``NNNN_<feature>.sqlite.sql`` and ``NNNN_<feature>.postgres.sql``. A file that has been
released is never edited.
"""

from importlib.resources import files
from typing import Any

from attrs import frozen

from storage.engine import Engine


class SchemaTooNew(Exception):
    """The database belongs to a newer version of Hearth; this one would damage it."""


@frozen
class Migration:
    """One step: its number, its name, its statements."""

    number: int
    name: str
    statements: tuple[str, ...]


def migrations(engine_name: str) -> list[Migration]:
    """The steps for an engine, in order."""
    found = []
    for file in files("storage").joinpath("migrations").iterdir():
        number, _, rest = file.name.partition("_")
        name, *flavour = rest.removesuffix(".sql").split(".")
        if file.name.endswith(".sql") and (not flavour or flavour == [engine_name]):
            found.append(Migration(int(number), name, _statements(file.read_text("utf-8"))))
    return sorted(found, key=lambda migration: migration.number)


def migrate(engine: Engine, connection: Any) -> int:
    """Apply the steps that this database has not seen; return the stream's position.

    Raises:
        SchemaTooNew: the database has seen steps that this version does not know.
    """
    cursor = connection.cursor()
    cursor.execute(
        "CREATE TABLE IF NOT EXISTS schema_version (number BIGINT PRIMARY KEY, name TEXT NOT NULL)"
    )
    cursor.execute("SELECT number FROM schema_version")
    seen = {row[0] for row in cursor.fetchall()}
    connection.commit()
    known = migrations(engine.name)
    if seen - {migration.number for migration in known}:
        raise SchemaTooNew(
            "The database was used by a newer version of Hearth. Start that version, or restore"
            " the backup that was made before the upgrade."
        )
    for migration in known:
        if migration.number not in seen:
            engine.begin(connection, writing=True)
            for statement in migration.statements:
                cursor.execute(engine.schema(statement))
            cursor.execute(
                engine.dialect("INSERT INTO schema_version (number, name) VALUES (?, ?)"),
                (migration.number, migration.name),
            )
            connection.commit()
    cursor.execute("SELECT position FROM stream")
    position: int = cursor.fetchone()[0]
    connection.rollback()
    return position


def _statements(text: str) -> tuple[str, ...]:
    """Statements end with a semicolon at the end of a line; ``--`` starts a line of comment."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("--")]
    parts = "\n".join(lines).split(";\n")
    return tuple(part.strip().removesuffix(";") for part in parts if part.strip())

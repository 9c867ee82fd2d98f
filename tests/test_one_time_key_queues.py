"""The migration that numbers one-time keys: what was handed out before it never is after it."""

from pathlib import Path
from typing import Any

from twisted.trial.unittest import TestCase

from storage import one_time_keys
from storage.migrate import migrate, migrations
from storage.sqlite import SqliteEngine
from storage.transaction import WriteTransaction
from tests.support import Database

ALGORITHM = "signed_curve25519"
PHONE, TABLET = ("@alice:localhost", "PHONE"), ("@alice:localhost", "TABLET")
NUMBER = 121


class MigrationTest(TestCase):
    """A database of the version before."""

    def setUp(self) -> None:
        database = Database(empty=True)
        self.addCleanup(database.drop)
        self.engine: Any = SqliteEngine(Path(self.mktemp()))
        if not database.setting.startswith("sqlite"):
            from storage.postgres import PostgresEngine

            self.engine = PostgresEngine(database.setting)
        self.connection = self.engine.connect(writing=True)
        self.addCleanup(self.connection.close)

    def test_keys_keep_their_order_and_what_was_issued_stays_issued(self) -> None:
        self.build_old()
        self.put(PHONE, {"A": (5, 1), "C": (5, 1), "B": (5, 0), "D": (5, 0), "0": (7, 0)})
        self.put(TABLET, {"A": (6, 1)})
        migrate(self.engine, self.connection)
        txn = WriteTransaction(self.engine, self.connection)
        left = one_time_keys.left(txn, [PHONE, TABLET])
        self.assertEqual([left[each].one_time_keys[ALGORITHM] for each in left], [3, 0])
        claimed = [one_time_keys.claim(txn, [PHONE, TABLET], ALGORITHM) for _ in range(4)]
        got = [key for keys in claimed for key in keys.values()]
        self.assertEqual(got, [("B", "json B"), ("D", "json D"), ("0", "json 0")])
        known = one_time_keys.known(txn, PHONE, ALGORITHM, ["A", "C", "E"])
        self.assertEqual(known, {"A": "json A", "C": "json C"})
        self.assertEqual(one_time_keys.lengthen(txn, PHONE, ALGORITHM, 2), (7, 5))

    def build_old(self) -> None:
        """The schema as it was."""
        cursor = self.connection.cursor()
        self.engine.begin(self.connection, writing=True)
        cursor.execute(
            "CREATE TABLE schema_version (number BIGINT PRIMARY KEY, name TEXT NOT NULL)"
        )
        for each in migrations(self.engine.name):
            if each.number < NUMBER:
                for statement in each.statements:
                    cursor.execute(self.engine.schema(statement))
                values = f"({each.number}, '{each.name}')"
                cursor.execute(f"INSERT INTO schema_version (number, name) VALUES {values}")
        self.connection.commit()

    def put(self, device: tuple[str, str], keys: dict[str, tuple[int, int]]) -> None:
        """Keys as they were stored: position of the upload, and whether issued."""
        cursor = self.connection.cursor()
        self.engine.begin(self.connection, writing=True)
        self.engine.execute_many(
            cursor,
            self.engine.dialect(
                "INSERT INTO one_time_keys"
                " (user_id, device_id, algorithm, key_id, position, issued, json)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)"
            ),
            [
                (*device, ALGORITHM, key_id, *rest, f"json {key_id}")
                for key_id, rest in keys.items()
            ],
        )
        self.connection.commit()

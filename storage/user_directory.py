"""The people of this server, as others find them."""

from typing import Any

import orjson

from storage.transaction import Transaction


def everybody(txn: Transaction, without: str) -> list[dict[str, Any]]:
    """Everybody with an open account but guests and ``without``, in the order of their ids."""
    rows = txn.all(
        "SELECT a.user_id, n.json, p.json FROM accounts a"
        " LEFT JOIN profiles n ON n.user_id = a.user_id AND n.field = 'displayname'"
        " LEFT JOIN profiles p ON p.user_id = a.user_id AND p.field = 'avatar_url'"
        " WHERE a.deactivated_at IS NULL AND a.is_guest = 0 AND a.user_id <> ?"
        " ORDER BY a.user_id",
        without,
    )
    return [_shown(*row) for row in rows]


def _shown(user_id: str, name: str | None, picture: str | None) -> dict[str, Any]:
    shown = {"user_id": user_id}
    if name is not None:
        shown["display_name"] = orjson.loads(name)
    if picture is not None:
        shown["avatar_url"] = orjson.loads(picture)
    return shown

"""Searching people by name and id."""

from typing import Any

import orjson

from storage.transaction import Transaction


def search(txn: Transaction, term: str, without: str, limit: int) -> list[dict[str, Any]]:
    """People with open accounts whose id or display name contains ``term``, in any case."""
    pattern = f"%{_escaped(term.lower())}%"
    rows = txn.all(
        "SELECT a.user_id, n.json, p.json FROM accounts a"
        " LEFT JOIN profiles n ON n.user_id = a.user_id AND n.field = 'displayname'"
        " LEFT JOIN profiles p ON p.user_id = a.user_id AND p.field = 'avatar_url'"
        " WHERE a.deactivated_at IS NULL AND a.user_id <> ?"
        " AND (LOWER(a.user_id) LIKE ? ESCAPE '!' OR LOWER(n.json) LIKE ? ESCAPE '!')"
        " ORDER BY a.user_id LIMIT ?",
        without,
        pattern,
        pattern,
        limit,
    )
    return [_shown(*row) for row in rows]


def _escaped(term: str) -> str:
    for special in "!%_":
        term = term.replace(special, f"!{special}")
    return term


def _shown(user_id: str, name: str | None, picture: str | None) -> dict[str, Any]:
    shown = {"user_id": user_id}
    if name is not None:
        shown["display_name"] = orjson.loads(name)
    if picture is not None:
        shown["avatar_url"] = orjson.loads(picture)
    return shown

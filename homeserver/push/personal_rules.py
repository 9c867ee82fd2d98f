"""Everybody's push rules: reading and changing them, and telling the person's devices."""

from collections.abc import Callable, Sequence
from typing import Any

from attrs import frozen

from homeserver.push.changes import RulesChanged
from homeserver.push.predefined import Json, Rule
from homeserver.push.rules import Ruleset
from homeserver.push.spans import Spans, load_rules
from storage import push
from storage.freshness import Freshness
from storage.store import Store
from storage.stream import Change
from storage.transaction import WriteTransaction


@frozen
class PersonalRules:
    """Client-server API, "Push Rules: API"."""

    store: Store
    spans: Spans

    async def all(self, user_id: str) -> Json:
        """A person's rules of every kind, as ``m.push_rules`` has them under ``global``."""
        return (await self._load(user_id)).as_json(user_id)

    async def get(self, user_id: str, kind: str, rule_id: str) -> Rule:
        """One rule.

        Raises:
            NotFound: there is none.
        """
        return (await self._load(user_id)).get_rule(kind, rule_id)

    async def change(self, user_id: str, change: Callable[[Ruleset], Ruleset]) -> None:
        """Have ``change`` make other rules of those that a person has; events after it obey.

        Raises:
            whatever ``change`` raises; nothing has changed then.
        """
        await self.store.write(lambda txn: self.change_in(txn, user_id, change))

    def change_in(
        self, txn: WriteTransaction, user_id: str, change: Callable[[Ruleset], Ruleset]
    ) -> None:
        """The same inside a transaction."""
        before = load_rules(txn, user_id)
        after = change(before)
        if after == before:
            return
        position = txn.position()
        push.put_rules(txn, user_id, after.dump(), position)
        self.spans.rules_changed(txn, user_id, after, position)
        txn.announce(RulesChanged(position=position, users=(user_id,)))

    def forget(self, txn: WriteTransaction, user_id: str, erase: bool) -> None:
        """Inside a transaction: an account ends, and with it all that was judged for it."""
        push.remove_person(txn, user_id)

    async def _load(self, user_id: str) -> Ruleset:
        return await self.store.read(lambda txn: load_rules(txn, user_id))


class PushRulesPart:
    """What /sync says of push rules ("Push Rules: Events")."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._fresh = Freshness()

    def start_at(self, position: int) -> None:
        """From this position of the stream on, this sees every change."""
        self._fresh = Freshness(position)

    def __len__(self) -> int:
        return len(self._fresh)

    def follow(self, changes: Sequence[Change]) -> None:
        """Keep up with the stream."""
        for change in changes:
            if isinstance(change, RulesChanged):
                self._fresh.touch(change.users[0], change.position)

    async def since(
        self, user_id: str, device_id: str, since: int | None, upto: int
    ) -> tuple[dict[str, Any], bool]:
        """As a part of /sync. A client that begins anew gets the rules, changed or not."""
        if since is not None and not self._fresh.may_have_changed(user_id, since):
            return {}, False
        found = await self._store.read(lambda txn: push.find_rules(txn, user_id))
        if since is not None and (found is None or found[1] <= since):
            return {}, False
        ruleset = Ruleset() if found is None else Ruleset.load(found[0])
        content = {"global": ruleset.as_json(user_id)}
        return {"account_data": {"events": [{"type": "m.push_rules", "content": content}]}}, True

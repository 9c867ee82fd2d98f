"""Which variant judges for whom in which room, now and since when."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from homeserver.push.changes import SpansBegun
from homeserver.push.rules import Ruleset
from homeserver.push.variants import RulesByRoom, Span, Variant, Variants
from storage import push
from storage.store import Store
from storage.stream import Change
from storage.transaction import Transaction, WriteTransaction


class Spans:
    """Everybody whose rules make a difference somewhere: an entry per person and such room."""

    def __init__(self, store: Store, variants: Variants) -> None:
        self._store = store
        self._variants = variants
        self._by_person: dict[str, dict[str, Span]] = defaultdict(dict)

    def load(self) -> None:
        """Fill the memory; once, before the reactor runs."""
        for user_id, room_id, since, number, rules in self._store.load(push.open_spans):
            variant = Variant(number, self._variants.of(Ruleset.load(rules)).rules)
            self._by_person[user_id][room_id] = Span(variant, since)

    def __len__(self) -> int:
        return sum(map(len, self._by_person.values()))

    def follow(self, changes: Sequence[Change]) -> None:
        """Keep up with the stream."""
        for change in changes:
            if isinstance(change, SpansBegun):
                self._by_person[change.user_id].update(change.spans)

    def find(self, user_id: str, room_id: str) -> Span | None:
        """A person's span in a room; None where the default rules have always held."""
        spans = self._by_person.get(user_id)
        return None if spans is None else spans.get(room_id)

    def variant(self, span: Span | None) -> Variant:
        """The variant of somebody with this span."""
        return self._variants.default if span is None else span.variant

    def at_head(self, txn: WriteTransaction, user_id: str, room_id: str) -> Span | None:
        """On the writer thread: a person's span as this transaction has left it so far."""
        span: Span | None = txn.overlay.get(self, {}).get((user_id, room_id))
        return self.find(user_id, room_id) if span is None else span

    def begun_in(self, txn: WriteTransaction, room_id: str) -> bool:
        """Whether this transaction has begun spans in a room."""
        return any(room == room_id for _, room in txn.overlay.get(self, {}))

    def rules_changed(
        self, txn: WriteTransaction, user_id: str, ruleset: Ruleset, position: int
    ) -> None:
        """Inside a transaction: a person has other rules from now on."""
        by_room = RulesByRoom(ruleset)
        begun = {}
        for room_id in push.joined_rooms(txn, user_id):
            variant = self._variants.of(by_room.in_room(room_id))
            if variant != self.variant(self.at_head(txn, user_id, room_id)):
                begun[room_id] = variant
        if begun:
            self._begin(txn, user_id, begun, position)
            push.remove_empty_spans(txn, user_id, position)
            push.remove_unused_variants(txn)

    def joined(self, txn: WriteTransaction, user_id: str, room_id: str, position: int) -> None:
        """Inside a transaction: a person has joined a room; nothing from before matters."""
        before = self.at_head(txn, user_id, room_id)
        ruleset = load_rules(txn, user_id)
        variant = self._variants.of(RulesByRoom(ruleset).in_room(room_id))
        if before is not None or variant != self._variants.default:
            self._begin(txn, user_id, {room_id: variant}, position)

    def _begin(
        self,
        txn: WriteTransaction,
        user_id: str,
        variants: Mapping[str, Variant],
        position: int,
    ) -> None:
        push.put_variants(
            txn, {each.number: each.rules.ruleset.dump() for each in variants.values()}
        )
        numbers = {room_id: variant.number for room_id, variant in variants.items()}
        push.begin_spans(txn, user_id, numbers, position)
        spans = {room_id: Span(variant, position) for room_id, variant in variants.items()}
        # A new mapping: if this work fails, whoever comes next must not see it.
        begun = {(user_id, room_id): span for room_id, span in spans.items()}
        txn.overlay[self] = {**txn.overlay.get(self, {}), **begun}
        txn.announce(SpansBegun(position=position, user_id=user_id, spans=spans))


def load_rules(txn: Transaction, user_id: str) -> Ruleset:
    """A person's rule set."""
    found = push.find_rules(txn, user_id)
    return Ruleset() if found is None else Ruleset.load(found[0])

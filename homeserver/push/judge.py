"""Judging events as they are stored: whom they notify, and who has read what by writing.

On the writer thread, inside the transaction that stores the event. For the ordinary message one row
is touched: how far its sender has read.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from attrs import frozen

from homeserver.push.changes import Judged, SpansBegun
from homeserver.push.conditions import Addressed, PushEvent, RoomFacts
from homeserver.push.evaluate import (
    Audience,
    Case,
    CompiledRules,
    Member,
    Outcome,
    Verdict,
    evaluate,
)
from homeserver.push.room_facts import display_name, notification_levels
from homeserver.push.spans import Spans, load_rules
from homeserver.push.threads import direct_thread, indirect_thread
from homeserver.push.variants import Variants
from homeserver.rooms.room import Room, RoomState
from storage import push
from storage.events import Event
from storage.push import EVERYBODY, MAIN, Difference, Personal
from storage.stream import Change
from storage.transaction import WriteTransaction

_MEMBER = "m.room.member"


@frozen(eq=False)
class _Hearers:
    """The members of a room while its state stays the same, grouped by what judges for them."""

    state: RoomState
    audience: Audience
    numbers: Mapping[CompiledRules, set[int]]
    """Equal rules may bear several numbers, from before an upgrade and after it."""
    notifications: Mapping[str, Any]


class Judge:
    """Decides what each event means to the members of its room ("Receiving notifications")."""

    def __init__(self, variants: Variants, spans: Spans) -> None:
        self._variants = variants
        self._spans = spans
        self._hearers: dict[str, _Hearers] = {}

    def __len__(self) -> int:
        return sum(len(each.audience.members) for each in self._hearers.values())

    def follow(self, changes: Sequence[Change]) -> None:
        """Keep up with the stream."""
        for change in changes:
            if isinstance(change, SpansBegun):
                for room_id in change.spans:
                    self._hearers.pop(room_id, None)

    def judge(self, txn: WriteTransaction, room: Room, event: Event) -> int:
        """What the default rules make of ``event`` for a member whom it does not address.

        ``room`` is the room before the event. To whom it means something else is written down.
        """
        seen = {**orjson.loads(event.json), "room_id": event.room_id}
        if event.type == _MEMBER:
            self._note_join(txn, room, event, seen)
        hearers = self._hearers_of(txn, room)
        facts = RoomFacts(
            len(hearers.audience.members),
            room.power_levels.level_of(event.sender),
            hearers.notifications,
        )
        pushed = PushEvent(seen)
        invited = self._invited(txn, hearers.audience, event, seen)
        outcome = evaluate(pushed, facts, hearers.audience, invited)
        default = self._variants.default.rules
        common = outcome.common.get(default) or default.judge(Case(pushed, facts), Addressed())
        usual = _number(common)
        by_variant = {
            number: _number(verdict)
            for rules, verdict in outcome.common.items()
            if _number(verdict) != usual
            for number in hearers.numbers[rules]
        }
        personal = _personal(outcome, hearers.audience, event.sender)
        if usual or by_variant or personal:
            self._write_down(txn, event, usual, by_variant, personal)
        return usual

    def redacted(self, txn: WriteTransaction, event: Event) -> None:
        """The event has lost its content, and notifies nobody any more."""
        differences = push.differences_at(txn, event.room_id, event.seq)
        personal = push.personal_at(txn, event.room_id, event.seq)
        if not (event.verdict or differences or personal):
            return
        push.remove_verdicts(txn, event.room_id, event.seq)
        threads = {each.thread_id for each in differences} | {each.thread_id for each in personal}
        indirect = next(iter(threads - {MAIN}), None)
        txn.announce(
            Judged(
                position=txn.last_position,
                room_id=event.room_id,
                seq=event.seq,
                judged_at=event.position,
                sender=event.sender,
                thread_id=direct_thread(event) or indirect or MAIN,
                usual=event.verdict,
                by_variant={
                    each.variant: each.verdict for each in differences if each.variant != EVERYBODY
                },
                by_person={each.user_id: each.verdict for each in personal},
                is_redacted=True,
            )
        )

    def _note_join(
        self, txn: WriteTransaction, room: Room, event: Event, seen: Mapping[str, Any]
    ) -> None:
        user_id = event.state_key
        if user_id is None or seen["content"].get("membership") != "join":
            return
        if room.state.membership(user_id) != "join":
            push.begin_room(txn, user_id, event.room_id, event.seq)
            self._spans.joined(txn, user_id, event.room_id, event.position)

    def _invited(
        self,
        txn: WriteTransaction,
        audience: Audience,
        event: Event,
        seen: Mapping[str, Any],
    ) -> Member | None:
        user_id = event.state_key
        if event.type != _MEMBER or user_id is None or user_id in audience.members:
            return None
        if seen["content"].get("membership") != "invite":
            return None
        return Member(user_id, None, self._variants.of(load_rules(txn, user_id)).rules)

    def _hearers_of(self, txn: WriteTransaction, room: Room) -> _Hearers:
        """Made anew when the state changes, or somebody's rules do."""
        unpublished = self._spans.begun_in(txn, room.room_id)
        hearers = self._hearers.get(room.room_id)
        if hearers is None or hearers.state is not room.state or unpublished:
            hearers = self._gather(txn, room)
            if not unpublished:
                self._hearers[room.room_id] = hearers
        return hearers

    def _gather(self, txn: WriteTransaction, room: Room) -> _Hearers:
        members = []
        numbers: dict[CompiledRules, set[int]] = defaultdict(set)
        for user_id, membership in room.state.memberships().items():
            if membership == "join":
                span = self._spans.at_head(txn, user_id, room.room_id)
                variant = self._spans.variant(span)
                numbers[variant.rules].add(variant.number)
                reads_names = variant.rules.reads_display_names
                name = display_name(room, user_id) if reads_names else None
                members.append(Member(user_id, name, variant.rules))
        return _Hearers(room.state, Audience(members), numbers, notification_levels(room))

    def _write_down(
        self,
        txn: WriteTransaction,
        event: Event,
        usual: int,
        by_variant: Mapping[int, int],
        personal: Mapping[str, tuple[int, int]],
    ) -> None:
        room_id, seq, position = event.room_id, event.seq, event.position
        thread, indirect = direct_thread(event), None
        if thread is None:
            indirect = indirect_thread(txn, event)
        thread = thread or indirect or MAIN
        differences = [
            Difference(number, thread, verdict, usual) for number, verdict in by_variant.items()
        ]
        if indirect is not None and usual:
            differences.append(Difference(EVERYBODY, MAIN, 0, usual))
            differences.append(Difference(EVERYBODY, indirect, usual, 0))
        if differences:
            push.add_differences(txn, room_id, seq, position, differences)
        if personal:
            people = [Personal(who, thread, *verdicts) for who, verdicts in personal.items()]
            push.add_personal(txn, room_id, seq, position, people)
        # "When the user updates their read receipt (either by using the API or by sending an
        # event), notifications prior to and including that event MUST be marked as read."
        push.move_place(txn, event.sender, room_id, thread, seq)
        txn.announce(
            Judged(
                position=position,
                room_id=room_id,
                seq=seq,
                judged_at=position,
                sender=event.sender,
                thread_id=thread,
                usual=usual,
                by_variant=by_variant,
                by_person={who: verdict for who, (verdict, _) in personal.items()},
            )
        )


def _number(verdict: Verdict) -> int:
    return verdict.notify + 2 * verdict.highlight


def _personal(outcome: Outcome, audience: Audience, sender: str) -> dict[str, tuple[int, int]]:
    """By person what the event means to them, and what it means to those with the same rules."""
    personal = {}
    for user_id, verdict in outcome.personal.items():
        member = audience.members.get(user_id)
        usual = 0 if member is None else _number(outcome.common[member.rules])
        if user_id != sender and _number(verdict) != usual:
            personal[user_id] = (_number(verdict), usual)
    return personal

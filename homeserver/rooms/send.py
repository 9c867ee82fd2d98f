"""Sending: messages, state and redactions by somebody who is in the room."""

from collections.abc import Callable, Mapping
from typing import Any

import orjson
from attrs import frozen

from homeserver.bridges.queries import Queries
from homeserver.events import check_json
from homeserver.requester import Requester
from homeserver.rooms.auth_rules import Draft
from homeserver.rooms.cache import RoomCache
from homeserver.rooms.journal import Journal
from schema import ids
from schema.canonical import encode
from schema.errors import BadAlias, BadJson, BadRequest, Forbidden, InvalidParam, NotFound
from storage import events, rooms
from storage.events import Event, Submission
from storage.store import Store
from storage.transaction import WriteTransaction

_MEMBER = "m.room.member"
_MESSAGE = "m.room.message"
AUTHORISED = "join_authorised_via_users_server"


@frozen
class Send:
    """Client-server API, "Sending events to a room" and "Redactions"."""

    store: Store
    rooms: RoomCache
    journal: Journal
    person_exists: Callable[[WriteTransaction, str], bool]
    queries: Queries

    async def message(
        self,
        requester: Requester,
        room_id: str,
        event_type: str,
        txn_id: str,
        content: dict[str, Any],
        *,
        redacts: str | None = None,
        ts: int | None = None,
    ) -> str:
        """Send a message event; its id. The same transaction id always gives the same event.

        ``ts`` is the event's time; None is now.

        Raises:
            Forbidden: a rule of the room or of its type is broken.
            NotFound: there is no such room.
            EventTooLarge, BadJson: it cannot be an event, or no message.
        """
        if not txn_id or len(txn_id) > 255:
            raise InvalidParam("A transaction id has 1 to 255 characters")
        draft = Draft(event_type, requester.user_id, room_id, content, redacts=redacts, ts=ts)
        submission = Submission(txn_id, requester.device_id, requester.user_id, room_id, event_type)
        return await self.store.write(_Message(self.rooms, self.journal, draft, submission))

    async def state(
        self,
        requester: Requester,
        room_id: str,
        event_type: str,
        state_key: str,
        content: dict[str, Any],
        *,
        ts: int | None = None,
    ) -> str:
        """Set a piece of state; the id of the event. Setting what is set already changes nothing.

        Raises:
            Forbidden: a rule of the room or of its type is broken.
            NotFound: there is no such room, or nobody to invite.
            BadAlias, InvalidParam: it names an alias that is none, or of another room.
            BadRequest: it is a membership of somebody, which has its own endpoints.
        """
        if event_type == _MEMBER:
            # Only the server can say that somebody vouches for a join.
            content = {k: v for k, v in content.items() if k != AUTHORISED}
        draft = Draft(event_type, requester.user_id, room_id, content, state_key, ts=ts)
        if event_type == "m.room.create":
            raise BadRequest("A room is created once, by createRoom")
        if event_type == "m.room.canonical_alias":
            _check_alias_shape(content)

        invites = event_type == _MEMBER and content.get("membership") == "invite"
        if invites:
            await self.queries.user(state_key)

        def work(txn: WriteTransaction) -> str:
            room = self.rooms.head(txn, room_id)
            check_json(room.version, content)
            # Until version 5 the rules alone would let anybody send m.room.aliases.
            is_member = room.state.membership(requester.user_id) == "join"
            if event_type != _MEMBER and not is_member:
                raise Forbidden("You are not a member of this room")
            if invites and not self.person_exists(txn, state_key):
                raise NotFound(f"There is nobody called {state_key} on this server")
            current = room.state.get(event_type, state_key)
            if (
                current is not None
                and current.sender == requester.user_id
                and is_member
                and encode(current.content) == encode(content)
            ):
                return current.event_id
            if event_type == "m.room.canonical_alias":
                _check_aliases(txn, room_id, current.content if current else {}, content)
            return self.journal.append(txn, room, draft)[0].event_id

        return await self.store.write(work)

    async def redact(
        self,
        requester: Requester,
        room_id: str,
        event_id: str,
        txn_id: str,
        content: dict[str, Any],
    ) -> str:
        """Take the content of an event away; the id of the redaction."""
        return await self.message(
            requester, room_id, "m.room.redaction", txn_id, content, redacts=event_id
        )


@frozen
class _Message:
    """The work of sending a message event, unless that was done under its transaction id."""

    rooms: RoomCache
    journal: Journal
    draft: Draft
    submission: Submission

    def __call__(self, txn: WriteTransaction) -> str:
        draft = self.draft
        room = self.rooms.head(txn, self.submission.room_id)
        check_json(room.version, draft.content)
        before = self._before(txn)
        for event in before:
            if _is_same(event, draft):
                return event.event_id
        if draft.type == _MESSAGE:
            _check_message(draft.content)
        event, _ = self.journal.append(txn, room, draft, sent=self.submission)
        txn.overlay[self.submission] = [*before, event]
        return event.event_id

    def _before(self, txn: WriteTransaction) -> list[Event]:
        """What was sent under the same id. Whoever comes first asks for all in the transaction."""
        if self.submission not in txn.overlay:
            others = (work.submission for work in txn.works if isinstance(work, _Message))
            txn.overlay.update(events.find_sent(txn, {self.submission, *others}))
        found: list[Event] = txn.overlay[self.submission]
        return found


def _check_message(content: Mapping[str, Any]) -> None:
    """Client-server API, "Instant Messaging": what every client can show."""
    for name in ("msgtype", "body"):
        if not isinstance(content.get(name), str):
            raise BadJson(f"A message has a `{name}`, which is text")


def _is_same(sent: Event, draft: Draft) -> bool:
    """Whether a request under the same transaction id was for the same (client-server API,
    "Transaction identifiers"): what a redaction is about stands in its path."""
    if draft.type != "m.room.redaction":
        return True
    target = orjson.loads(sent.json).get("redacts")
    return target is None or target == draft.target


def _check_alias_shape(content: Mapping[str, Any]) -> None:
    alias, others = content.get("alias"), content.get("alt_aliases", [])
    if alias is not None and not isinstance(alias, str):
        raise BadJson("`alias` must be a string")
    if not isinstance(others, list) or not all(isinstance(other, str) for other in others):
        raise BadJson("`alt_aliases` must be a list of strings")


def _check_aliases(
    txn: WriteTransaction, room_id: str, old: Mapping[str, Any], new: Mapping[str, Any]
) -> None:
    """What is newly named must be an alias and point here ("m.room.canonical_alias")."""
    known = {old.get("alias"), *old.get("alt_aliases", [])}
    for alias in {new.get("alias"), *new.get("alt_aliases", [])} - known - {None, ""}:
        found = rooms.find_alias(txn, ids.room_alias(alias))
        if found is None or found[0] != room_id:
            raise BadAlias(f"The alias {alias} does not point to this room")

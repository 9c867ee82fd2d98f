"""Unread counts and the list of notifications: whatever happens, as a slow model has them.

The model asks the rules of each member about each event, one after the other, and counts all events
from the beginning. The server under test has the real objects below HTTP.
"""

import os
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar
from unittest import TestCase
from unittest.mock import patch
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import orjson
import psycopg2
from attrs import Factory, define
from hypothesis import example, given, settings
from hypothesis import strategies as st
from signedjson.key import generate_signing_key
from twisted.internet import reactor as default_reactor

from federation_disabled.egress import Egress
from homeserver.account_data import AccountData
from homeserver.bridges.outside import Outside
from homeserver.bridges.queries import Queries
from homeserver.bridges.services import Services
from homeserver.config import Rooms as RoomSettings
from homeserver.events import Signer
from homeserver.guests import Guests
from homeserver.ignored_people import IgnoredPeople
from homeserver.invite_permission import InvitePermission
from homeserver.push.actions import Actions
from homeserver.push.conditions import RoomFacts
from homeserver.push.counts import PushCountsPart
from homeserver.push.judge import Judge
from homeserver.push.notifications import Notifications
from homeserver.push.personal_rules import PersonalRules
from homeserver.push.rules import Ruleset
from homeserver.push.spans import Spans
from homeserver.push.variants import Variants
from homeserver.receipts import Receipts
from homeserver.requester import Requester
from homeserver.rooms.auth_rules import Draft
from homeserver.rooms.cache import RoomCache
from homeserver.rooms.client_events import Viewer
from homeserver.rooms.create import CreateRoom, Wish
from homeserver.rooms.journal import Journal
from homeserver.rooms.kinds import Kinds
from homeserver.rooms.membership import Membership
from homeserver.rooms.memberships import Memberships
from homeserver.rooms.originals import Originals
from homeserver.rooms.presets import Preset
from homeserver.rooms.redact import Redact
from homeserver.rooms.room import Room
from homeserver.rooms.send import Send
from homeserver.rooms.versions import get_version
from homeserver.suspensions import Suspensions
from schema.errors import InvalidParam
from storage.engine import Engine
from storage.migrate import migrate
from storage.postgres import PostgresEngine
from storage.sqlite import SqliteEngine
from storage.stream import Stream
from storage.transaction import Transaction, WriteTransaction
from tests.test_push_evaluate import SlowModel

T = TypeVar("T")
Step = tuple[Any, ...]
NOTHING = (0, 0)
HIGHLIGHT = {"set_tweak": "highlight"}
NAMES = ("alice", "bob", "carol")
ROOMS = (0, 1)
MESSAGES = ("m.room.message", "m.room.encrypted", "m.reaction")


def finish(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run to its end what never has to wait, because the store does not."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        value: T = end.value
        return value
    raise AssertionError("It waits")


class InlineStore:
    """The store on one thread; ``together`` makes one transaction of several writes."""

    def __init__(self, engine: Engine, writer: Any, reader: Any, stream: Stream) -> None:
        self._engine = engine
        self._writer = writer
        self._reader = reader
        self.stream = stream
        self.txn: WriteTransaction | None = None
        self.meanwhile: Callable[[], None] | None = None

    def load(self, work: Callable[[Transaction], T]) -> T:
        self._engine.begin(self._reader, writing=False)
        txn = Transaction(self._engine, self._reader)
        try:
            return work(txn)
        finally:
            txn.close()
            self._reader.rollback()

    async def read(self, work: Callable[[Transaction], T]) -> T:
        value = self.load(work)
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            meanwhile()
        return value

    async def write(self, work: Callable[[WriteTransaction], T]) -> T:
        if self.txn is not None:
            return work(self.txn)
        with self.together() as txn:
            return work(txn)

    @contextmanager
    def together(self) -> Iterator[WriteTransaction]:
        self._engine.begin(self._writer, writing=True)
        txn = self.txn = WriteTransaction(self._engine, self._writer)
        try:
            yield txn
        except BaseException:
            self._writer.rollback()
            raise
        finally:
            self.txn = None
        txn.finish()
        txn.close()
        self._writer.commit()
        self.stream.publish(txn.last_position, txn.changes)
        for hook in txn.hooks:
            hook()


class Permissive:
    """Nobody is suspended."""

    def check_event(self, draft: Draft) -> None:
        pass

    def check_redaction(self, sender: str, redacted_sender: str) -> None:
        pass


class Server:
    """What the composition root builds, as far as it matters here."""

    def __init__(
        self, engine: Engine, writer: Any, reader: Any, signer: Signer, max_counters: int
    ) -> None:
        stream = Stream()
        store: Any = InlineStore(engine, writer, reader, stream)
        self.store: InlineStore = store
        stream.start_at(store.load(lambda txn: txn.value("SELECT position FROM stream")))
        self.rooms = RoomCache(store)
        memberships = Memberships(store)
        memberships.load(stream.position)
        variants = Variants()
        self.spans = Spans(store, variants)
        self.spans.load()
        judge = Judge(variants, self.spans)
        clock = count(1).__next__
        self.ignored = IgnoredPeople(store)
        self.ignored.load()
        invites = InvitePermission(store, self.ignored)
        kinds, warden = Kinds(frozenset()), Suspensions(store)
        redact = Redact(judge, warden, Originals(store, clock, 7))
        guests = Guests(store)
        journal = Journal(self.rooms, signer, clock, kinds, judge, warden, invites, guests, redact)
        services = Services([])
        queries = Queries(default_reactor, store, services, Outside(Egress(default_reactor)))

        def exists(txn: Any, user_id: str) -> bool:
            return True

        membership = Membership(store, self.rooms, journal, memberships, exists, queries)
        self.membership = membership
        self.create = CreateRoom(
            store, journal, membership, RoomSettings(), "hearth.example", services
        )
        self.send = Send(store, self.rooms, journal, exists, queries)
        self.account_data = AccountData(store)
        self.receipts = Receipts(store, self.rooms, self.account_data, clock)
        self.rules = PersonalRules(store, self.spans)
        self.counts = PushCountsPart(store, self.spans, self.ignored, max_counters)
        actions = Actions(self.spans)
        self.notifications = Notifications(store, self.rooms, actions, self.ignored, clock)
        self.rooms.start_at(stream.position)
        self.counts.start_at(stream.position)
        caches = (self.rooms, memberships, self.spans, judge, self.ignored, self.counts)
        for follower in caches:
            stream.follow(follower.follow)

    def head(self, room_id: str) -> Room:
        if self.store.txn is not None:
            return self.rooms.head(self.store.txn, room_id)
        return finish(self.rooms.get(room_id))


@define
class Sent:
    """An event in the model."""

    seq: int
    event_id: str
    event_type: str
    sender: str
    relation: tuple[str, str] | None
    thread: str
    verdicts: dict[str, tuple[int, int]]
    speaks: bool


@define
class RoomModel:
    """A room in the model: all that ever happened in it."""

    room_id: str
    joined: dict[str, int] = Factory(dict)
    invited: dict[str, str] = Factory(dict)
    names: dict[str, str | None] = Factory(dict)
    events: list[Sent] = Factory(list)
    receipts: list[tuple[str, str | None, int]] = Factory(list)
    ignored: dict[str, set[str]] = Factory(dict)

    def thread_of(self, relation: tuple[str, str] | None) -> str:
        for _ in range(4):
            if relation is None:
                break
            rel_type, event_id = relation
            if rel_type == "m.thread":
                return event_id
            relation = next((e.relation for e in self.events if e.event_id == event_id), None)
        return "main"

    def is_read(self, user_id: str, event: Sent) -> bool:
        by_receipt = any(
            who == user_id and seq >= event.seq and thread in (None, event.thread)
            for who, thread, seq in self.receipts
        )
        by_writing = any(
            later.sender == user_id
            and later.speaks
            and later.seq >= max(event.seq, self.joined[user_id])
            and later.thread == event.thread
            for later in self.events
        )
        return by_receipt or by_writing

    def notified(self, user_id: str) -> list[Sent]:
        """Of what a member has been notified since they joined."""
        return [
            event
            for event in self.events
            if event.seq > self.joined[user_id]
            and event.verdicts.get(user_id, NOTHING)[0]
            and event.sender not in {user_id, *self.ignored.get(user_id, ())}
        ]

    def counts(self, user_id: str) -> dict[str, tuple[int, int]]:
        """By thread."""
        counts: dict[str, tuple[int, int]] = {}
        for event in self.notified(user_id):
            if not self.is_read(user_id, event):
                notify, highlight = counts.get(event.thread, NOTHING)
                told = event.verdicts[user_id]
                counts[event.thread] = notify + told[0], highlight + told[1]
        return counts


class World:
    """A server and the model of it, which live through the same history."""

    numbers = count(1)

    def __init__(self, case: "UnreadCounts", max_counters: int) -> None:
        self.case = case
        self.start: Callable[[], Server] = lambda: Server(*case.database, max_counters)
        self.server = self.start()
        number = next(self.numbers)
        self.users = [f"@{name}{number}:hearth.example" for name in NAMES]
        self.rulesets = dict.fromkeys(self.users, Ruleset())
        self.transactions = count(1)
        self.ignored: dict[str, set[str]] = {}
        self.rooms = [self.new_room() for _ in ROOMS]

    def new_room(self) -> RoomModel:
        wish = Wish(Preset.PUBLIC, "group", get_version("11"), {})
        alice = self.users[0]
        room_id = finish(
            self.server.store.write(lambda txn: self.server.create.make(txn, alice, wish))
        )
        room = RoomModel(room_id, joined={alice: 2}, ignored=self.ignored)
        for user_id in self.users[1:]:
            self.join(user_id, room)
        return room

    # What people do. Each is left out where it is not possible.

    def join(self, user_id: str, room: RoomModel) -> None:
        if user_id not in room.joined:
            finish(self.server.membership.join(requester(user_id), room.room_id))
            self.note(room, user_id, "m.room.member", {"membership": "join"}, user_id)
            room.joined[user_id] = room.events[-1].seq
            room.invited.pop(user_id, None)
            room.names[user_id] = None

    def leave(self, user_id: str, room: RoomModel) -> None:
        if user_id in room.joined and user_id != self.users[0]:
            finish(self.server.membership.leave(requester(user_id), room.room_id))
            self.note(room, user_id, "m.room.member", {"membership": "leave"}, user_id)
            del room.joined[user_id]

    def invite(self, user_id: str, room: RoomModel) -> None:
        if user_id not in room.joined and user_id not in room.invited:
            alice = self.users[0]
            finish(self.server.membership.invite(requester(alice), room.room_id, user_id))
            self.note(room, alice, "m.room.member", {"membership": "invite"}, user_id)
            room.invited[user_id] = room.events[-1].event_id

    def rename(self, user_id: str, room: RoomModel, name: str) -> None:
        if user_id in room.joined and room.names.get(user_id) != name:
            content = {"membership": "join", "displayname": name}
            send = self.server.send
            finish(send.state(requester(user_id), room.room_id, "m.room.member", user_id, content))
            self.note(room, user_id, "m.room.member", content, user_id)
            room.names[user_id] = name

    def say(
        self,
        user_id: str,
        room: RoomModel,
        event_type: str,
        content: dict[str, Any],
        rel_type: str | None,
        about: int,
        mentions: list[int],
    ) -> None:
        if user_id not in room.joined:
            return
        content = dict(content)
        if rel_type is not None and room.events:
            about %= len(room.events)
            if rel_type == "m.thread":
                # A thread can only begin at an event without a relation.
                while room.events[about].relation is not None:
                    about -= 1
            event_id = room.events[about].event_id
            content["m.relates_to"] = {"rel_type": rel_type, "event_id": event_id}
        if mentions:
            user_ids = [self.users[index] for index in mentions]
            content["m.mentions"] = {"user_ids": user_ids, "room": len(mentions) == 2}
        transaction = str(next(self.transactions))
        finish(
            self.server.send.message(
                requester(user_id), room.room_id, event_type, transaction, content
            )
        )
        self.note(room, user_id, event_type, content)

    def redact(self, room: RoomModel, about: int) -> None:
        said = [event for event in room.events if event.event_type in MESSAGES]
        if not said:
            return
        event = said[about % len(said)]
        finish(
            self.server.send.redact(
                requester(self.users[0]),
                room.room_id,
                event.event_id,
                str(next(self.transactions)),
                {},
            )
        )
        self.note(room, self.users[0], "m.room.redaction", {"redacts": event.event_id})
        event.relation, event.verdicts = None, {}

    def read(
        self, user_id: str, room: RoomModel, about: int, receipt_type: str, thread: str | int
    ) -> None:
        if user_id not in room.joined or not room.events:
            return
        event = room.events[-1 - about % len(room.events)]
        thread_id = None if thread == "" else "main" if thread == "main" else None
        own = room.thread_of(event.relation)
        if isinstance(thread, int):
            thread_id = own if thread % 2 else room.events[thread % len(room.events)].event_id
        moving = self.server.receipts.move(
            requester(user_id), room.room_id, [(receipt_type, event.event_id)], thread_id
        )
        fits = thread_id in (None, event.event_id, own)
        try:
            finish(moving)
        except InvalidParam:
            assert not fits
            return
        assert fits
        room.receipts.append((user_id, thread_id, event.seq))

    def change_rules(self, user_id: str, change: Callable[["World", Ruleset], Ruleset]) -> None:
        finish(self.server.rules.change(user_id, lambda rules: change(self, rules)))
        self.rulesets[user_id] = change(self, self.rulesets[user_id])

    def ignore(self, user_id: str, others: list[int]) -> None:
        names = {self.users[index] for index in others}
        content = {"ignored_users": {name: {} for name in names}}
        finish(self.server.account_data.put(user_id, "", "m.ignored_user_list", content))
        self.ignored[user_id] = names - {user_id}

    def restart(self) -> None:
        if self.server.store.txn is None:
            self.server = self.start()

    # What the model makes of it.

    def note(
        self,
        room: RoomModel,
        sender: str,
        event_type: str,
        content: dict[str, Any],
        state_key: str | None = None,
    ) -> None:
        head = self.server.head(room.room_id)
        event_id = head.last_event_id or ""
        sent = {
            "type": event_type,
            "sender": sender,
            "room_id": room.room_id,
            "event_id": event_id,
            "content": content,
            **({} if state_key is None else {"state_key": state_key}),
        }
        level = 100 if sender == self.users[0] else 0
        model = SlowModel(sent, RoomFacts(len(room.joined), level, {"room": 50}))
        hearers = list(room.joined)
        if content.get("membership") == "invite" and state_key is not None:
            hearers.append(state_key)
        verdicts = {
            user_id: _told(
                model.judge(
                    self.rulesets[user_id].as_json(user_id), user_id, room.names.get(user_id)
                )
            )
            for user_id in hearers
        }
        strangers = [Ruleset(), *(self.rulesets[user_id] for user_id in room.joined)]
        speaks = any(verdict[0] for who, verdict in verdicts.items() if who != sender) or any(
            _told(model.judge(rules.as_json("@nobody"), "@nobody", None))[0] for rules in strangers
        )
        relates = content.get("m.relates_to")
        relation = (relates["rel_type"], relates["event_id"]) if relates else None
        thread = room.thread_of(relation)
        room.events.append(
            Sent(head.seq, event_id, event_type, sender, relation, thread, verdicts, speaks)
        )

    # What must hold.

    def check_counts(self, user_id: str) -> None:
        rooms = [room for room in self.rooms if user_id in room.joined]
        ids = [room.room_id for room in rooms]
        found = finish(self.server.counts.counts(user_id, ids, threads=True))
        together = finish(self.server.counts.counts(user_id, ids))
        for room in rooms:
            expected = room.counts(user_id)
            case = self.case
            case.assertEqual(_by_thread(found[room.room_id]), expected)
            totals = [sum(column) for column in zip(NOTHING, *expected.values(), strict=True)]
            case.assertEqual(_pair(together[room.room_id]["unread_notifications"]), tuple(totals))

    def check_notifications(self, user_id: str) -> None:
        expected = {}
        for room in self.rooms:
            if user_id in room.joined:
                for event in room.notified(user_id):
                    is_highlight = bool(event.verdicts[user_id][1])
                    expected[event.event_id] = (is_highlight, room.is_read(user_id, event))
            for event in room.events:
                if event.sender in room.ignored.get(user_id, ()):
                    continue
                if event.event_id == room.invited.get(user_id) and event.verdicts[user_id][0]:
                    expected[event.event_id] = (bool(event.verdicts[user_id][1]), False)
        for highlights in (False, True):
            wanted = {
                event_id: told for event_id, told in expected.items() if told[0] or not highlights
            }
            self.case.assertEqual(self.listed(user_id, highlights), wanted)

    def listed(self, user_id: str, highlights: bool) -> dict[str, tuple[bool, bool]]:
        """All pages of the list of notifications."""
        found: dict[str, tuple[bool, bool]] = {}
        before: int | None = 2**62
        while before is not None:
            page, before = finish(
                self.server.notifications.page(
                    Viewer(user_id, "DEVICE"), before, 3, highlights=highlights
                )
            )
            for each in page:
                event_id = orjson.loads(orjson.dumps(each["event"]))["event_id"]
                self.case.assertNotIn(event_id, found)
                found[event_id] = (HIGHLIGHT in each["actions"], each["read"])
        return found


def requester(user_id: str) -> Requester:
    return Requester(user_id, "DEVICE")


def _told(rule: dict[str, Any] | None) -> tuple[int, int]:
    actions = rule["actions"] if rule is not None else []
    return int("notify" in actions), int("notify" in actions and HIGHLIGHT in actions)


def _pair(counts: dict[str, int]) -> tuple[int, int]:
    return counts["notification_count"], counts["highlight_count"]


def _by_thread(counts: dict[str, Any]) -> dict[str, tuple[int, int]]:
    threads = counts.get("unread_thread_notifications", {})
    found = {thread_id: _pair(each) for thread_id, each in threads.items()}
    main = _pair(counts["unread_notifications"])
    return found if main == NOTHING else {"main": main, **found}


def _mute(index: int) -> Callable[[World, Ruleset], Ruleset]:
    return lambda world, rules: rules.put_rule("room", world.rooms[index].room_id, {"actions": []})


def _mute_as_element(index: int) -> Callable[[World, Ruleset], Ruleset]:
    def mute(world: World, rules: Ruleset) -> Ruleset:
        room_id = world.rooms[index].room_id
        condition = {"kind": "event_match", "key": "room_id", "pattern": room_id}
        return rules.put_rule("override", room_id, {"conditions": [condition], "actions": []})

    return mute


def _override(
    rule_id: str, actions: list[Any], **condition: Any
) -> Callable[[World, Ruleset], Ruleset]:
    conditions = [condition] if condition else []
    body = {"conditions": conditions, "actions": actions}
    return lambda world, rules: rules.put_rule("override", rule_id, body)


CHANGES = {
    "mute one": _mute(0),
    "mute the other": _mute(1),
    "mute one as Element does": _mute_as_element(0),
    "a word": lambda world, rules: rules.put_rule(
        "content", "cake", {"pattern": "cake", "actions": ["notify", HIGHLIGHT]}
    ),
    "mentions only": lambda world, rules: rules.set_actions("underride", ".m.rule.message", []),
    "notices too": lambda world, rules: rules.set_enabled(
        "override", ".m.rule.suppress_notices", False
    ),
    "everything": _override("all", ["notify"]),
    "not among few": _override("few", [], kind="room_member_count", **{"is": "<3"}),
    "my name": _override("name", ["notify", HIGHLIGHT], kind="contains_display_name"),
    "silence": lambda world, rules: rules.set_enabled("override", ".m.rule.master", True),
    "as it was": lambda world, rules: Ruleset(),
}

PEOPLE = st.integers(0, 2)
PLACES = st.sampled_from(ROOMS)
INDEXES = st.integers(0, 50)
BODIES = st.sampled_from(["hello", "cake", "bob, come here"])
CONTENTS = st.builds(
    lambda body, msgtype: {"body": body, "msgtype": msgtype},
    BODIES,
    st.sampled_from(["m.text", "m.text", "m.notice"]),
)
RELATIONS = st.sampled_from([None] * 6 + ["m.thread", "m.thread", "m.reference", "m.replace"])
SAY = st.tuples(
    st.just("say"),
    PEOPLE,
    PLACES,
    st.sampled_from(["m.room.message"] * 4 + ["m.room.encrypted", "m.reaction"]),
    CONTENTS,
    RELATIONS,
    INDEXES,
    st.lists(PEOPLE, max_size=2, unique=True),
)
READ = st.tuples(
    st.just("read"),
    PEOPLE,
    PLACES,
    st.sampled_from([0, 0, 1, 2, 5]),
    st.sampled_from(["m.read", "m.read.private"]),
    st.sampled_from(["", "", "main"]) | INDEXES,
)
STEPS = st.one_of(
    SAY,
    SAY,
    SAY,
    SAY,
    READ,
    st.tuples(st.just("change_rules"), PEOPLE, st.sampled_from(sorted(CHANGES))),
    st.tuples(st.just("redact"), PLACES, INDEXES),
    st.tuples(st.sampled_from(["leave", "join", "join", "invite"]), PEOPLE, PLACES),
    st.tuples(st.just("ignore"), PEOPLE, st.lists(PEOPLE, max_size=2)),
    st.tuples(st.just("rename"), PEOPLE, PLACES, st.sampled_from(["bob", "cake"])),
    st.tuples(st.just("restart")),
)
HISTORIES = st.lists(
    st.tuples(
        st.lists(STEPS, min_size=1, max_size=4),
        st.sampled_from(["", "", "together", "late"]),
        st.lists(PEOPLE, max_size=3, unique=True),
    ),
    min_size=3,
    max_size=25,
)


BOB = 1
TEXT = {"body": "hello", "msgtype": "m.text"}
HELLO: Step = ("say", 0, 0, "m.room.message", TEXT, None, 0, [])
READ_BY_BOB = ("read", BOB, 0, 0, "m.read", "")
ALL_BUT_ONE_READ_BY_BOB = ("read", BOB, 0, 1, "m.read", "")
LEAVE, JOIN = ("leave", BOB, 0), ("join", BOB, 0)
IGNORE = ("ignore", BOB, [0])
MUTE, UNMUTE = ("change_rules", BOB, "mute one"), ("change_rules", BOB, "as it was")


class UnreadCounts(TestCase):
    """One database for all examples, with other people and rooms in each."""

    database: tuple[Engine, Any, Any, Signer]

    def setUp(self) -> None:
        folder = TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        engine: Engine = SqliteEngine(Path(folder.name) / "hearth.db")
        server = os.environ.get("HEARTH_TEST_POSTGRES")
        if server is not None:
            name = f"hearth_{uuid4().hex}"
            _run(server, f"CREATE DATABASE {name}")
            self.addCleanup(_run, server, f"DROP DATABASE {name} WITH (FORCE)")
            engine = PostgresEngine(urlunsplit(urlsplit(server)._replace(path=f"/{name}")))
        writer = engine.connect(writing=True)
        self.addCleanup(writer.close)
        migrate(engine, writer)
        reader = engine.connect(writing=False)
        self.addCleanup(reader.close)
        signer = Signer("hearth.example", generate_signing_key("a_1"))
        self.database = engine, writer, reader, signer

    def live(self, world: World, steps: list[Step]) -> None:
        """Have something happen."""
        for name, *rest in steps:
            arguments = list(rest)
            if name not in ("restart", "redact"):
                arguments[0] = world.users[arguments[0]]
            if name == "change_rules":
                arguments[1] = CHANGES[arguments[1]]
            elif name == "redact":
                arguments[0] = world.rooms[arguments[0]]
            elif name not in ("restart", "ignore"):
                arguments[1] = world.rooms[arguments[1]]
            getattr(world, name)(*arguments)

    def live_late(self, world: World, steps: list[Step], user_id: str) -> None:
        """Have it happen between a query for somebody's counts and its answer."""
        steps = [step for step in steps if step[0] != "restart"]
        world.server.store.meanwhile = lambda: self.live(world, steps)
        rooms = [room.room_id for room in world.rooms]
        finish(world.server.counts.counts(user_id, rooms))
        world.server.store.meanwhile = None

    @settings(deadline=None, max_examples=100)
    @given(HISTORIES, st.sampled_from([1, 100, 100]), st.sampled_from([1, 64, 64]))
    @example([([HELLO], "", []), ([READ_BY_BOB], "late", [BOB])], 100, 64)
    @example([([HELLO, HELLO], "", [BOB]), ([ALL_BUT_ONE_READ_BY_BOB], "", [BOB])], 100, 64)
    @example([([HELLO], "", [BOB]), ([LEAVE, JOIN, HELLO], "", [BOB])], 100, 64)
    @example([([HELLO, LEAVE], "", []), ([], "late", [BOB]), ([JOIN], "", [BOB])], 100, 64)
    @example([([HELLO, MUTE, HELLO, UNMUTE, HELLO, MUTE, HELLO], "", [BOB])], 100, 64)
    @example([([MUTE], "", [BOB]), ([HELLO, UNMUTE], "", [BOB])], 100, 64)
    @example([([HELLO], "", []), ([MUTE, HELLO], "together", [BOB])], 100, 64)
    @example([([HELLO], "", [BOB]), ([IGNORE, HELLO], "", [BOB])], 100, 64)
    @example([([HELLO], "", []), ([IGNORE], "late", [BOB])], 100, 64)
    def test_are_those_of_the_slow_model(
        self, history: list[tuple[list[Step], str, list[int]]], max_counters: int, max_judged: int
    ) -> None:
        with patch("homeserver.push.counts.MAX_JUDGED", max_judged):
            world = World(self, max_counters)
            for steps, how, asking in history:
                if how == "together":
                    with world.server.store.together():
                        self.live(world, steps)
                elif how == "late":
                    self.live_late(world, steps, world.users[asking[0] if asking else 0])
                else:
                    self.live(world, steps)
                for index in asking:
                    world.check_counts(world.users[index])
            for restarted in (False, True):
                if restarted:
                    world.restart()
                for user_id in world.users:
                    world.check_counts(user_id)
                    world.check_notifications(user_id)


def _run(server: str, sql: str) -> None:
    connection = psycopg2.connect(server)
    connection.autocommit = True
    connection.cursor().execute(sql)
    connection.close()

"""What somebody may see of a room: the rules, told again slowly, against every endpoint that reads.

Client-server API, "Room history visibility". Alice sees everything; Bob is invited, joins, leaves,
is removed and comes back, while the setting changes. Every event carries a word of its own, so
whatever an answer gives away shows. Erin takes part until she has erased what she sent.
"""

import re
from collections.abc import AsyncIterator, Iterator
from itertools import count
from random import Random
from typing import Any
from urllib.parse import quote

import orjson

from tests.support import Person, WireTest, seed
from tests.test_accounts import own_password

Json = dict[str, Any]

STORIES, ROUNDS, STEPS = 4, 5, 12
SETTINGS = ("world_readable", "shared", "invited", "joined")
STRIPPED = ("create", "name", "avatar", "topic", "join_rules", "canonical_alias", "encryption")
"""State that is shown to whoever is invited (client-server API, "Stripped state")."""
LEFT = {"membership", "redacts"}
"""What a redaction leaves of the content of what Erin sends about herself."""
WORD = re.compile(r"word\d+\b")
EVENT_ID = re.compile(r"\$[A-Za-z0-9_-]{43}")
ACTS = {
    "says": 6,
    "answers": 4,
    "edits": 3,
    "reacts": 2,
    "redacts": 2,
    "reads": 2,
    "names": 2,
    "renames": 2,
    "moves": 2,
    "decides": 2,
    "invites": 3,
    "joins": 4,
    "leaves": 1,
    "removes": 2,
}


class Line:
    """The whole room, as Alice sees it, and what follows from it for somebody else."""

    def __init__(
        self, events: list[Json], user_id: str, erased: tuple[str, int] | None = None
    ) -> None:
        """``erased`` is who has erased what they sent, and how many events there were by then."""
        self.events = events
        self._user_id = user_id
        self._replaced: dict[str, str] = {}
        self._rules = ["shared"]
        self._memberships = ["leave"]
        for event in events:
            content, membership = event["content"], self._memberships[-1]
            self._rules.append(content.get("history_visibility", self._rules[-1]))
            self._memberships.append(content["membership"] if self._is_own(event) else membership)
        self.membership = self._memberships[-1]
        self._numbers = {n for n in range(len(events)) if self._shows(n)}
        self.seen = [event["event_id"] for n, event in enumerate(events) if n in self._numbers]
        self.copies: set[str] = set()
        """The ids of the events that are told, or seen, without what was said."""
        self.told_then: set[str] = set()
        if erased is not None:
            who, number = erased
            then = Line(events[:number], user_id)
            was_inside = "join" in then._memberships
            self.copies = {
                event["event_id"]
                for event in events
                if event["sender"] == who and who in event.get("state_key", who)
            }.difference(then.seen if was_inside else ())
            self.told_then = then.may_be_told() if was_inside else set()

    def _shows(self, number: int) -> bool:
        """The rules; where the event changes the setting or the membership, before it or after."""
        joined_later = "join" in self._memberships[number + 1 :]
        return any(
            rule == "world_readable"
            or membership == "join"
            or (rule == "shared" and joined_later)
            or (rule == "invited" and membership == "invite")
            for rule in self._rules[number : number + 2]
            for membership in self._memberships[number : number + 2]
        )

    def may_be_told(self) -> set[str]:
        """The ids of the events whose content may be in an answer: seen, or state at the time."""
        told = {event["event_id"] for event in self.events if self._is_own(event)}
        state: dict[tuple[str, str], str] = {}
        for number, event in enumerate(self.events):
            event_id, before = event["event_id"], {*state.values()}
            if "state_key" in event:
                place = event["type"], event["state_key"]
                self._replaced[event_id] = state.get(place, event_id)
                state[place] = event_id
            if number in self._numbers:
                told |= {event_id, *before, *state.values()}
        if self.membership == "invite":
            told |= {
                event_id
                for (event_type, _), event_id in state.items()
                if event_type.removeprefix("m.room.") in (*STRIPPED, "member")
            }
        if self.membership != "join":
            return told
        # What was redacted quotes the redaction, to whoever is inside.
        redactions = (event for event in self.events if event["type"] == "m.room.redaction")
        return told | {e["event_id"] for e in redactions if e["content"]["redacts"] in told}

    def _is_own(self, event: Json) -> bool:
        return event["type"] == "m.room.member" and event["state_key"] == self._user_id

    def replies(self, root: str) -> int:
        """How many of the events that are seen are in a thread."""
        relation = {"rel_type": "m.thread", "event_id": root}
        seen = (self.events[number] for number in self._numbers)
        return sum(
            event["content"].get("m.relates_to") == relation
            for event in seen
            if event["event_id"] not in self.copies
        )

    def may_be_quoted(self) -> set[str]:
        """The ids of the events whose words may be in an answer."""
        return self.may_be_told() - (self.copies - self.told_then)

    def may_be_named(self) -> set[str]:
        """The ids that may be in an answer: of these events, and those that they name."""
        told, quoted = self.may_be_told(), self.may_be_quoted()
        named = [
            [e["content"] if e["event_id"] in quoted else None, e.get("redacts")]
            for e in self.events
            if e["event_id"] in told
        ]
        replaced = {self._replaced[event_id] for event_id in told & self._replaced.keys()}
        return told | replaced | {*EVENT_ID.findall(orjson.dumps(named).decode())}


def bundled_threads(answer: Any) -> Iterator[Json]:
    """The summaries of threads somewhere in an answer, each with the id of its root."""
    if isinstance(answer, dict):
        thread = answer.get("unsigned", {}).get("m.relations", {}).get("m.thread")
        if thread is not None:
            yield {**thread, "root": answer["event_id"]}
    if isinstance(answer, (dict, list)):
        for each in answer.values() if isinstance(answer, dict) else answer:
            yield from bundled_threads(each)


class VisibilityTest(WireTest):
    """Bob is shown what he may see, and not a word more."""

    timeout = 300

    async def test_nobody_is_told_more_or_less_than_they_may_see(self) -> None:
        """Whatever happens, on every endpoint."""
        self.hearth = await self.server(rooms={"self_room": False, "encrypt": []})
        begin = seed()
        for number in range(begin, begin + STORIES):
            self.dice, self.past = Random(number), [f"HEARTH_TEST_SEED={number}"]
            names = [f"{name}{number}" for name in ("alice", "bob", "carol", "dave", "erin")]
            people = await self.hearth.people(*names)
            self.alice, self.bob, self.carol, self.dave, self.erin = people
            try:
                await self.story(number)
            except AssertionError as error:
                raise AssertionError("\n  ".join([str(error), *self.past])) from error

    async def story(self, begun: int) -> None:
        """One room, from its beginning. In every other one Bob comes after Erin has gone."""
        self.words: dict[str, str] = {}
        self.numbers = count()
        self.messages: list[str] = []
        self.senders: dict[str, Person] = {}
        self.erased: tuple[str, int] | None = None
        rule = {"history_visibility": self.dice.choice(SETTINGS)}
        state = [{"type": "m.room.history_visibility", "content": rule}]
        self.room = await self.alice.create_room(preset="private_chat", initial_state=state)
        path = f"/rooms/{self.room}/state/m.room.power_levels/"
        levels = await self.alice.ask("GET", path)
        levels["events"] |= {"m.room.name": 0, "m.room.topic": 0}
        await self.alice.ask("PUT", path, levels)
        for friend in (self.carol, self.erin):
            await self.alice.ask("POST", f"/rooms/{self.room}/invite", {"user_id": friend.id})
            await friend.join(self.room)
        self.tokens = [(await self.bob.sync())["next_batch"]]
        last_of_erin = self.dice.randrange(STEPS, (ROUNDS - 1) * STEPS)
        bob_is_late = begun % 2 == 0
        for number in range(ROUNDS * STEPS):
            acts = ACTS
            if bob_is_late and self.erased is None:
                acts = {**ACTS, "invites": 0, "joins": 0}
            (act,) = self.dice.choices([*acts], [*acts.values()])
            await getattr(self, act)(f"word{next(self.numbers)}")
            if number == last_of_erin:
                await self.erin_erases()
            if (number + 1) % STEPS == 0:
                await self.look()

    # What happens.

    def note(self, word: str, event_id: str, what: str) -> str:
        """Remember which event a word belongs to."""
        self.words[word] = event_id
        self.past.append(f"{event_id} {word}: {what}")
        return event_id

    def or_erin(self, person: Person) -> Person:
        """Somebody, or Erin if she is still there."""
        return person if self.erased else self.dice.choice((person, self.erin))

    def is_gone(self, person: Person) -> bool:
        return person is self.erin and self.erased is not None

    async def says(self, word: str) -> None:
        sender = self.or_erin(self.alice)
        said = self.note(word, await sender.say(self.room, word), f"{sender.id} said")
        self.messages.append(said)
        self.senders[said] = sender

    async def answers(self, word: str) -> None:
        """In a thread."""
        if self.messages:
            root = self.dice.choice(self.messages)
            relation = {"rel_type": "m.thread", "event_id": root}
            sender = self.or_erin(self.carol)
            said = await sender.say(self.room, word, **{"m.relates_to": relation})
            self.note(word, said, f"{sender.id} in the thread of {root}")

    async def edits(self, word: str) -> None:
        if self.messages:
            edited = self.dice.choice(self.messages)
            sender = self.senders[edited]
            if self.is_gone(sender):
                return
            relation = {"rel_type": "m.replace", "event_id": edited}
            new = {"msgtype": "m.text", "body": word}
            more = {"m.new_content": new, "m.relates_to": relation}
            self.note(word, await sender.say(self.room, "*", **more), f"edits {edited}")

    async def reacts(self, word: str) -> None:
        if self.messages:
            relation = {
                "rel_type": "m.annotation",
                "event_id": self.dice.choice(self.messages),
                "key": word,
            }
            content = {"m.relates_to": relation}
            sender = self.or_erin(self.carol)
            sent = await sender.send(self.room, "m.reaction", content)
            self.note(word, sent, f"{sender.id} reacts")

    async def redacts(self, word: str) -> None:
        if self.messages:
            gone = self.dice.choice(self.messages)
            self.messages.remove(gone)
            sender = self.alice if self.is_gone(self.senders[gone]) else self.senders[gone]
            path = f"/rooms/{self.room}/redact/{gone}/{sender.transaction()}"
            answer = await sender.ask("PUT", path, {"reason": word})
            self.note(word, answer["event_id"], f"{sender.id} redacts {gone}")

    async def reads(self, word: str) -> None:
        """A receipt, which names an event."""
        if self.messages:
            path = f"/rooms/{self.room}/receipt/m.read/{self.messages[-1]}"
            await self.carol.ask("POST", path)

    async def names(self, word: str) -> None:
        key = self.dice.choice(("name", "topic"))
        sender = self.or_erin(self.alice)
        event_id = await sender.set_state(self.room, f"m.room.{key}", {key: word})
        self.note(word, event_id, f"{sender.id} sets the {key}")

    async def renames(self, word: str) -> None:
        """Erin has another name from now on."""
        if self.erased is None:
            await self.erin.ask(
                "PUT", f"/profile/{self.erin.id}/displayname", {"displayname": word}
            )
            path = f"/rooms/{self.room}/state/m.room.member/{self.erin.id}"
            event = await self.alice.ask("GET", path, query={"format": "event"})
            self.note(word, event["event_id"], "erin renames herself")

    async def erin_erases(self) -> None:
        """She is gone, and what she sent is shown to nobody new."""
        body = {"erase": True, "auth": own_password(self.erin)}
        await self.erin.ask("POST", "/account/deactivate", body)
        self.erased = self.erin.id, len(await self.every_message(self.alice, "f"))
        self.past.append("erin erases")

    async def moves(self, word: str) -> None:
        """Dave comes, or goes; nobody needs to know who cannot see it."""
        code, _ = await self.dave.call("POST", f"/rooms/{self.room}/leave")
        if self.dice.random() < 0.7:
            body = {"user_id": self.dave.id, "reason": word}
            await self.alice.call("POST", f"/rooms/{self.room}/invite", body)
            await self.dave.join(self.room)
        self.past.append(f"dave moves: {word}")

    async def decides(self, word: str) -> None:
        rule = self.dice.choice(SETTINGS)
        content = {"history_visibility": rule, "reason": word}
        event_id = await self.alice.set_state(self.room, "m.room.history_visibility", content)
        self.note(word, event_id, rule)

    async def invites(self, word: str) -> None:
        await self.about("invite", word)

    async def removes(self, word: str) -> None:
        verb = self.dice.choice(("kick", "ban"))
        await self.about(verb, word)
        if verb == "ban":
            await self.about("unban", word)

    async def joins(self, word: str) -> None:
        code, _ = await self.bob.call("POST", f"/rooms/{self.room}/join")
        self.past.append(f"bob joins: {code}")

    async def leaves(self, word: str) -> None:
        code, _ = await self.bob.call("POST", f"/rooms/{self.room}/leave")
        self.past.append(f"bob leaves: {code}")

    async def about(self, verb: str, word: str) -> None:
        body = {"user_id": self.bob.id, "reason": word}
        code, _ = await self.alice.call("POST", f"/rooms/{self.room}/{verb}", body)
        self.past.append(f"{verb} bob: {code}")

    # What is seen of it.

    async def look(self) -> None:
        """Ask for everything as Bob, and compare."""
        events = await self.every_message(self.alice, "f")
        line = Line(events, self.bob.id, self.erased)
        self.past.append(f"bob looks: {line.membership}, {len(line.seen)} of {len(events)}")
        for direction in "fb":
            shown = await self.every_message(self.bob, direction)
            seen = [event["event_id"] for event in shown]
            expected = line.seen if direction == "f" else line.seen[::-1]
            self.assertEqual(seen, expected, direction)
            said = {event["event_id"]: event["content"] for event in events}
            for event in shown:
                kept = said[event["event_id"]]
                if event["event_id"] in line.copies:
                    kept = {key: kept[key] for key in LEFT & kept.keys()}
                self.assertEqual(event["content"], kept, event)
        told, named, quoted = line.may_be_told(), line.may_be_named(), line.may_be_quoted()
        about_dave = [e for e in events if e.get("state_key") == self.dave.id]
        knows_dave = any(e["event_id"] in told for e in about_dave)
        secret = {word for word, event_id in self.words.items() if event_id not in quoted}
        async for asked, answer in self.everything(events, quoted):
            text = orjson.dumps(answer).decode()
            for thread in bundled_threads(answer):
                self.assertEqual(thread["count"], line.replies(thread["root"]), asked)
            about_dave = set() if knows_dave else {self.dave.id}
            found = {*WORD.findall(text)} & secret | {*EVENT_ID.findall(text)} - named
            for leak in found | {each for each in about_dave if each in text}:
                place = text.index(leak)
                self.fail(f"{asked} tells {leak}: {text[max(0, place - 300) : place + 100]}")

    async def every_message(self, who: Person, direction: str) -> list[Json]:
        """The whole room, page by page; nothing where it is refused."""
        found: list[Json] = []
        query: Json = {"dir": direction, "limit": 7}
        while True:
            path = f"/rooms/{self.room}/messages"
            code, page = await who.call("GET", path, query=query)
            if code == 403:
                return []
            found += page["chunk"]
            if "end" not in page:
                return found
            query["from"] = page["end"]

    async def everything(
        self, events: list[Json], quoted: set[str]
    ) -> AsyncIterator[tuple[str, Any]]:
        """Whatever can be asked about the room, as Bob."""
        room, v1 = quote(self.room, safe=""), "/_matrix/client/v1"
        fresh = await self.bob.sync()
        yield "a fresh sync", fresh
        filters = ({"room": {"include_leave": True}}, {"room": {"timeline": {"limit": 2}}})
        for wanted in filters:
            yield f"sync with {wanted}", await self.bob.sync(filter=wanted)
            since = self.dice.choice(self.tokens)
            yield f"sync since then with {wanted}", await self.bob.sync(since, filter=wanted)
        self.tokens.append(fresh["next_batch"])
        paths = [
            "/initialSync?archived=true",
            f"/rooms/{room}/initialSync",
            f"/events?room_id={room}&from={self.tokens[0]}&timeout=0",
            f"/events?from={self.tokens[0]}&timeout=0",
            f"/rooms/{room}/state",
            f"/rooms/{room}/state/m.room.name/",
            f"/rooms/{room}/members",
            f"/rooms/{room}/members?at={quote(self.tokens[-2])}",
            f"/rooms/{room}/joined_members",
            f"/rooms/{room}/aliases",
            "/notifications",
            f"{v1}/rooms/{room}/threads",
            f"{v1}/rooms/{room}/timestamp_to_event?ts=0&dir=f",
            f"{v1}/rooms/{room}/timestamp_to_event?ts={2**50}&dir=b",
            f"{v1}/rooms/{room}/hierarchy",
            f"{v1}/room_summary/{room}",
        ]
        for event in self.dice.sample(events, min(12, len(events))):
            event_id = event["event_id"]
            paths += [
                f"/rooms/{room}/event/{event_id}",
                f"/rooms/{room}/context/{event_id}?limit=6",
                f"{v1}/rooms/{room}/relations/{event_id}",
                f"{v1}/rooms/{room}/relations/{event_id}?recurse=true",
                f"/events/{event_id}",
            ]
        for path in paths:
            code, answer = await self.bob.call("GET", path)
            # A refusal may repeat what it was asked for.
            yield path, answer if code == 200 else None
        for word in self.dice.sample([*self.words], min(4, len(self.words))):
            wanted = {"search_term": word, "event_context": {}, "include_state": True}
            body = {"search_categories": {"room_events": wanted}}
            _, answer = await self.bob.call("POST", "/search", body)
            found = answer.get("search_categories", {}).get("room_events", {})
            found.pop("highlights", None)
            if found.get("count"):
                # Words are found by their beginnings, too.
                meant = {id for each, id in self.words.items() if each.startswith(word)}
                self.assertTrue(meant & quoted, f"{word} is found")
            yield f"search for {word}", found

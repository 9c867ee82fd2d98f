"""Events keep their id: built, stored as two texts, read back, redacted."""

import base64
import copy
import hashlib
from functools import partial
from math import inf, nan
from typing import Any
from unittest import TestCase

import orjson
from canonicaljson import encode_canonical_json
from hypothesis import given, settings
from hypothesis import strategies as st
from signedjson.key import decode_signing_key_base64, get_verify_key
from signedjson.sign import SignatureVerifyException, verify_signed_json

from homeserver.events import (
    MAX_EVENT_BYTES,
    Built,
    Signer,
    build,
    check_event_limits,
    client_json,
    envelope_json,
    event_id_of,
    link_to,
    pdu_from,
    redact,
    redact_pdu,
    room_id_of,
    sign,
)
from homeserver.rooms.versions import VERSIONS, RoomVersion, get_version
from schema.canonical import encode
from schema.errors import BadJson, EventTooLarge, UnsupportedRoomVersion

# Appendices, "Cryptographic Test Vectors".
SEED = "YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1"
SIGNER = Signer("domain", decode_signing_key_base64("ed25519", "1", SEED))
ALICE = "@alice:domain"
EARLIER = "$" + "a" * 43
NEW = ("11", "12")

TYPES = (
    "m.room.message",
    "m.room.create",
    "m.room.member",
    "m.room.join_rules",
    "m.room.power_levels",
    "m.room.history_visibility",
    "m.room.redaction",
    "m.room.aliases",
)
CONTENT_KEYS = (
    "membership",
    "join_authorised_via_users_server",
    "third_party_invite",
    "signed",
    "creator",
    "room_version",
    "join_rule",
    "allow",
    "users",
    "invite",
    "ban",
    "notifications",
    "history_visibility",
    "redacts",
    "reason",
    "body",
    "aliases",
)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | texts | st.just(EARLIER),
    lambda v: (
        st.lists(v, max_size=4)
        | st.dictionaries(st.sampled_from(CONTENT_KEYS) | texts, v, max_size=4)
    ),
    max_leaves=8,
)
numbers = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**63), 2**64 - 1)
contents = st.dictionaries(st.sampled_from(CONTENT_KEYS) | texts, values, max_size=8)
loose_contents = st.dictionaries(
    st.sampled_from(CONTENT_KEYS) | texts, values | numbers | st.lists(numbers), max_size=8
)
versions = st.sampled_from(list(VERSIONS.values()))
short_texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=9)


@st.composite
def events(draw: st.DrawFn) -> tuple[RoomVersion, Built]:
    version = draw(versions)
    event_type = draw(st.sampled_from(TYPES) | st.just("m.room.redaction") | short_texts)
    makes_room = version.room_id_from_create and event_type == "m.room.create"
    return version, build(
        version,
        SIGNER,
        room_id=None if makes_room else "!room:domain",
        sender=ALICE,
        type=event_type,
        content=draw(contents if version.canonical_json else loose_contents),
        state_key=draw(st.none() | short_texts),
        redacts=draw(st.none() | st.just("$given")),
        origin_server_ts=draw(st.integers(0, 2**53 - 1)),
        depth=draw(st.integers(0, 2**53 - 1)),
        prev_events=draw(st.lists(st.just(EARLIER), max_size=2)),
        auth_events=draw(st.lists(st.just(EARLIER), max_size=2)),
    )


def message(version_id: str = "11", **changes: Any) -> Built:
    fields = {
        "room_id": "!room:domain",
        "sender": ALICE,
        "type": "m.room.message",
        "content": {"body": "The ladder is back", "msgtype": "m.text"},
        "origin_server_ts": 1_000_000,
        "depth": 3,
        "prev_events": [EARLIER],
        "auth_events": [EARLIER],
    }
    return build(VERSIONS[version_id], SIGNER, **{**fields, **changes})


class KnownSignatures(TestCase):
    """The vectors of the specification. They are events of room version 1 with parts left out; no
    version with hashes as ids redacts them differently before version 11."""

    def test_a_minimal_event(self) -> None:
        pdu = {
            "room_id": "!x:domain",
            "sender": "@a:domain",
            "origin": "domain",
            "origin_server_ts": 1000000,
            "type": "X",
            "content": {},
            "prev_events": [],
            "auth_events": [],
            "depth": 3,
        }
        signed = sign(VERSIONS["10"], SIGNER, pdu).pdu
        self.assertEqual(
            signed["hashes"], {"sha256": "5jM4wQpv6lnBo7CLIghJuHdW+s2CMBJPUOGOC89ncos"}
        )
        self.assertEqual(
            signed["signatures"]["domain"]["ed25519:1"],
            "KxwGjPSDEtvnFgU00fwFz+l6d2pJM6XBIaMEn81SXPTRl16AqLAYqfIReFGZlHi5KLjAWbOoMszkwsQma+lYAg",
        )

    def test_an_event_with_content_that_redaction_removes(self) -> None:
        pdu = {
            "content": {"body": "Here is the message content"},
            "event_id": "$0:domain",
            "origin": "domain",
            "origin_server_ts": 1000000,
            "type": "m.room.message",
            "room_id": "!r:domain",
            "sender": "@u:domain",
        }
        signed = sign(VERSIONS["10"], SIGNER, pdu).pdu
        self.assertEqual(
            signed["hashes"], {"sha256": "onLKD1bGljeBWQhWZ1kaP9SorVmRQNdN5aM2JYU2n/g"}
        )
        self.assertEqual(
            signed["signatures"]["domain"]["ed25519:1"],
            "Wm+VzmOUOz08Ds+0NTWb1d4CZrVsJSikkeRxh6aCcUwu6pNC78FunoD7KNWzqFn241eYHYMGCA5McEiVPdhzBA",
        )


class Hashes(TestCase):
    @settings(deadline=None)
    @given(events())
    def test_hash_and_id_are_those_of_the_specification_step_by_step(
        self, made: tuple[RoomVersion, Built]
    ) -> None:
        version, event = made
        bare = {k: v for k, v in event.pdu.items() if k not in ("hashes", "signatures")}
        content_hash = hashlib.sha256(encode_canonical_json(bare)).digest()
        self.assertEqual(
            event.pdu["hashes"]["sha256"], base64.b64encode(content_hash).decode().rstrip("=")
        )
        essence = redact_pdu(version, event.pdu)
        del essence["signatures"]
        reference_hash = hashlib.sha256(encode_canonical_json(essence)).digest()
        written = base64.b64encode if version.id in ("1", "2", "3") else base64.urlsafe_b64encode
        expected = written(reference_hash).decode().rstrip("=")
        if version.id in ("1", "2"):
            self.assertEqual(event.pdu["event_id"], event.event_id)
            self.assertRegex(event.event_id, r"^\$[A-Za-z0-9_-]{43}:domain$")
            link = [event.event_id, {"sha256": expected}]
        else:
            self.assertNotIn("event_id", event.pdu)
            self.assertEqual(event.event_id, "$" + expected)
            link = event.event_id
        self.assertEqual(event_id_of(version, event.pdu), event.event_id)
        self.assertEqual(link_to(version, event.pdu), link)
        self.assertEqual(link_to(version, redact_pdu(version, event.pdu)), link)

    @settings(deadline=None)
    @given(events())
    def test_the_signature_verifies_also_after_redaction(
        self, made: tuple[RoomVersion, Built]
    ) -> None:
        version, event = made
        key = get_verify_key(SIGNER.key)
        redacted = redact_pdu(version, event.pdu)
        verify_signed_json(copy.deepcopy(redacted), "domain", key)
        redacted["depth"] += 1
        with self.assertRaises(SignatureVerifyException):
            verify_signed_json(redacted, "domain", key)

    def test_the_id_depends_on_every_part(self) -> None:
        changes: list[dict[str, Any]] = [
            {},
            {"content": {"body": "The ladder is gone"}},
            {"sender": "@bob:domain"},
            {"room_id": "!other:domain"},
            {"state_key": ""},
            {"type": "m.sticker"},
            {"depth": 4},
            {"origin_server_ts": 1_000_001},
            {"prev_events": []},
            {"auth_events": []},
        ]
        ids = {message(**change).event_id for change in changes}
        self.assertEqual(len(ids), len(changes))

    def test_a_version_12_room_is_named_after_its_create_event(self) -> None:
        create = {"type": "m.room.create", "state_key": "", "content": {"room_version": "12"}}
        event = message("12", room_id=None, prev_events=[], auth_events=[], **create)
        self.assertNotIn("room_id", event.pdu)
        self.assertEqual(event.room_id, "!" + event.event_id[1:])
        self.assertEqual(event.room_id, room_id_of(event.event_id))
        self.assertEqual(message("12", room_id=event.room_id).pdu["room_id"], event.room_id)


class StoredTexts(TestCase):
    @settings(deadline=None)
    @given(events())
    def test_the_pdu_comes_back_exactly(self, made: tuple[RoomVersion, Built]) -> None:
        version, event = made
        client, envelope = client_json(version, event), envelope_json(event)
        pdu = pdu_from(version, client, envelope, event.room_id)
        self.assertEqual(pdu, event.pdu)
        self.assertEqual(event_id_of(version, pdu), event.event_id)

    @settings(deadline=None)
    @given(events())
    def test_a_redacted_event_keeps_its_id_and_its_signature(
        self, made: tuple[RoomVersion, Built]
    ) -> None:
        version, event = made
        shown = orjson.loads(client_json(version, event))
        stored = orjson.dumps(redact(version, shown)).decode()
        pdu = pdu_from(version, stored, envelope_json(event), event.room_id)
        self.assertEqual(pdu, redact_pdu(version, event.pdu))
        self.assertEqual(event_id_of(version, pdu), event.event_id)
        verify_signed_json(pdu, "domain", get_verify_key(SIGNER.key))

    @settings(deadline=None)
    @given(events())
    def test_redacting_twice_is_redacting_once_and_leaves_the_original_alone(
        self, made: tuple[RoomVersion, Built]
    ) -> None:
        version, event = made
        shown = orjson.loads(client_json(version, event))
        before = copy.deepcopy(shown)
        once = redact(version, shown)
        self.assertEqual(shown, before)
        self.assertEqual(redact(version, once), once)
        before_pdu = copy.deepcopy(event.pdu)
        redacted = redact_pdu(version, event.pdu)
        self.assertEqual(redact_pdu(version, redacted), redacted)
        self.assertEqual(event.pdu, before_pdu)

    def test_clients_see_what_they_need_and_nothing_else(self) -> None:
        event = message(type="m.room.topic", state_key="", content={"topic": "Ladders"})
        self.assertEqual(
            client_json(VERSIONS["11"], event),
            '{"content":{"topic":"Ladders"},'
            f'"event_id":"{event.event_id}","origin_server_ts":1000000,'
            '"sender":"@alice:domain","state_key":"","type":"m.room.topic"}',
        )
        self.assertNotIn("state_key", orjson.loads(client_json(VERSIONS["11"], message())))
        self.assertEqual(
            set(orjson.loads(envelope_json(event))),
            {"auth_events", "depth", "hashes", "prev_events", "signatures"},
        )


class Redactions(TestCase):
    def redaction(self, version_id: str, **changes: Any) -> tuple[Built, dict[str, Any]]:
        event = message(version_id, **{"type": "m.room.redaction", "content": {}, **changes})
        return event, orjson.loads(client_json(VERSIONS[version_id], event))

    def test_the_target_stands_where_the_version_keeps_it_and_clients_see_it_in_both_places(
        self,
    ) -> None:
        by_argument = {"redacts": EARLIER, "content": {"reason": "spam"}}
        by_content = {"content": {"redacts": EARLIER, "reason": "spam"}}
        for version_id in VERSIONS:
            for way in (by_argument, by_content):
                event, shown = self.redaction(version_id, **way)
                in_content = "redacts" in event.pdu["content"]
                self.assertEqual(in_content, version_id in NEW)
                self.assertEqual("redacts" in event.pdu, version_id not in NEW)
                self.assertEqual(shown["redacts"], EARLIER)
                self.assertEqual(shown["content"], {"reason": "spam", "redacts": EARLIER})
                texts = (encode(shown).decode(), envelope_json(event))
                self.assertEqual(pdu_from(VERSIONS[version_id], *texts, "!room:domain"), event.pdu)

    def test_a_redacted_redaction_keeps_its_target_since_version_11(self) -> None:
        for version_id in VERSIONS:
            kept = EARLIER if version_id in NEW else None
            _, shown = self.redaction(version_id, content={"redacts": EARLIER, "reason": "spam"})
            redacted = redact(VERSIONS[version_id], shown)
            self.assertEqual(redacted.get("redacts"), kept)
            self.assertEqual(redacted["content"], {"redacts": kept} if kept else {})

    def test_a_target_that_is_no_text_stays_where_it_was(self) -> None:
        for version_id in VERSIONS:
            event, shown = self.redaction(version_id, content={"redacts": 5})
            self.assertEqual(shown["content"], {"redacts": 5})
            self.assertNotIn("redacts", shown)
            self.assertNotIn("redacts", event.pdu)

    def kept(self, version_id: str, event_type: str, content: dict[str, Any]) -> dict[str, Any]:
        event = {"type": event_type, "content": content, "unsigned": {"age": 1}, "x": 1}
        redacted = redact(VERSIONS[version_id], event)
        self.assertEqual(set(redacted), {"type", "content"})
        return redacted["content"]

    def test_what_is_left_of_each_type(self) -> None:
        levels = {
            "ban": 1,
            "events": {},
            "events_default": 2,
            "kick": 3,
            "redact": 4,
            "state_default": 5,
            "users": {},
            "users_default": 6,
        }
        for version_id in VERSIONS:
            new, number = version_id in NEW, int(version_id)
            kept = partial(self.kept, version_id)
            self.assertEqual(kept("m.room.message", {"body": "x"}), {})
            aliases = {"aliases": ["#a:domain"]}
            self.assertEqual(kept("m.room.aliases", aliases), aliases if number < 6 else {})
            self.assertEqual(
                kept("m.room.history_visibility", {"history_visibility": "shared", "x": 1}),
                {"history_visibility": "shared"},
            )
            self.assertEqual(
                kept("m.room.join_rules", {"join_rule": "restricted", "allow": [], "x": 1}),
                {"join_rule": "restricted"} | ({"allow": []} if number >= 8 else {}),
            )
            creation = {"creator": ALICE, "room_version": version_id, "type": "m.space"}
            self.assertEqual(
                kept("m.room.create", creation),
                creation if new else {"creator": ALICE},
            )
            self.assertEqual(
                kept("m.room.power_levels", {**levels, "invite": 7, "notifications": {}}),
                {**levels, "invite": 7} if new else levels,
            )
            joined = {"membership": "join", "join_authorised_via_users_server": ALICE}
            left = joined if number >= 9 else {"membership": "join"}
            invite = {"third_party_invite": {"display_name": "A", "signed": {"token": "t"}}}
            self.assertEqual(
                kept("m.room.member", {**joined, **invite, "displayname": "Alice"}),
                {**left, "third_party_invite": {"signed": {"token": "t"}}} if new else left,
            )

    def test_until_version_10_three_old_properties_are_kept(self) -> None:
        old = {"origin": "domain", "membership": "join", "prev_state": []}
        event = {"type": "m.room.message", "content": {}, **old}
        for version_id in VERSIONS:
            left = {"type", "content"} if version_id in NEW else set(event)
            self.assertEqual(set(redact(VERSIONS[version_id], event)), left)


class Limits(TestCase):
    def size(self, event: Built) -> int:
        return len(encode_canonical_json(event.pdu))

    def test_an_event_may_have_65536_bytes_and_not_one_more(self) -> None:
        self.assertEqual(MAX_EVENT_BYTES, 65536)
        room = MAX_EVENT_BYTES - self.size(message(content={"body": ""}))
        self.assertEqual(self.size(message(content={"body": "x" * room})), MAX_EVENT_BYTES)
        with self.assertRaises(EventTooLarge):
            message(content={"body": "x" * (room + 1)})
        with self.assertRaises(EventTooLarge):
            message(content={"body": "é" * (room // 2 + 1)})

    def test_texts_with_a_column_of_their_own_have_255_bytes_and_no_nul(self) -> None:
        for name in ("type", "state_key", "sender", "room_id"):
            message(**{name: "é" * 127 + "x"})
            with self.assertRaises(EventTooLarge) as refused:
                message(**{name: "é" * 128})
            self.assertIn(name, refused.exception.error)
            with self.assertRaises(BadJson) as bad:
                message(**{name: "a\0b"})
            self.assertIn(name, bad.exception.error)
        long = {"type": "m.room.redaction", "content": {}, "redacts": "$" * 256}
        with self.assertRaises(EventTooLarge):
            message("10", **long)
        message(content={"body": "a\0b"})

    def test_what_has_no_canonical_form_is_refused_with_its_path(self) -> None:
        for content, path in (
            ({"body": 1.5}, "content.body"),
            ({"info": {"w": 2**53}}, "content.info.w"),
            ({"body": "\ud800"}, "content.body"),
        ):
            for version_id in list(VERSIONS)[5:]:
                with self.assertRaises(BadJson) as refused:
                    message(version_id, content=content)
                self.assertTrue(refused.exception.error.startswith(path))
        with self.assertRaises(BadJson):
            message(origin_server_ts=2**53)
        for version in VERSIONS.values():
            with self.assertRaises(BadJson):
                check_event_limits(version, {"content": {}, "type": "\ud800"})

    def test_until_version_5_any_number_that_can_be_kept_is_right(self) -> None:
        for version_id in list(VERSIONS)[:5]:
            for number in (1.5, -0.0, 5e-324, 1e300, 2**53, -(2**63), 2**64 - 1):
                event = message(version_id, content={"x": [number]})
                text = client_json(VERSIONS[version_id], event)
                self.assertEqual(repr(orjson.loads(text)["content"]["x"]), repr([number]))
            for number in (inf, nan, 2**64, -(2**63) - 1):
                with self.assertRaises(BadJson) as refused:
                    message(version_id, content={"x": [number]})
                self.assertTrue(refused.exception.error.startswith("content.x[0]"))


class Versions(TestCase):
    def test_unknown_versions_are_refused_by_name(self) -> None:
        self.assertEqual(get_version("12").id, "12")
        for unknown in ("13", "org.example.1", ""):
            with self.assertRaises(UnsupportedRoomVersion) as refused:
                get_version(unknown)
            self.assertIn("1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12", refused.exception.error)

    def test_each_version_is_listed_under_its_own_name(self) -> None:
        for version_id, version in VERSIONS.items():
            self.assertEqual(version.id, version_id)

"""Who may do what in a room: the authorisation rules, case by case and version by version.

In each table: what happens, and the words of the refusal, or None where it is allowed.
"""

from typing import Any
from unittest import TestCase

from attrs import frozen
from signedjson.key import encode_verify_key_base64, generate_signing_key, get_verify_key
from signedjson.sign import sign_json

from homeserver.rooms.auth_rules import (
    Draft,
    auth_event_keys,
    check,
    check_redaction,
    creators_of,
    levels_in,
)
from homeserver.rooms.versions import VERSIONS
from schema.errors import Forbidden

ALICE, BOB, CAROL, DAVE, EVE = (f"@{name}:hs" for name in ("alice", "bob", "carol", "dave", "eve"))
OLD = tuple(version_id for version_id in VERSIONS if version_id != "12")
CREATOR_NAMED = OLD[:-1]
AUTHORISED = "join_authorised_via_users_server"


@frozen
class Stored:
    type: str
    state_key: str
    sender: str
    content: dict[str, Any]
    event_id: str = "$state"


class Room:
    """A room that Alice made and joined, with the state that a test puts into it."""

    def __init__(self, version_id: str, **create_content: Any) -> None:
        self.version = VERSIONS[version_id]
        self.id = "!create" if self.version.room_id_from_create else "!room:hs"
        content = {"room_version": version_id, **create_content}
        if self.version.creator_in_content:
            content["creator"] = ALICE
        create = Stored("m.room.create", "", ALICE, content, "$create")
        self.events = {("m.room.create", ""): create}
        self.put("m.room.member", ALICE, membership="join")

    def get(self, type: str, state_key: str = "") -> Stored | None:
        return self.events.get((type, state_key))

    def put(self, type: str, state_key: str, sender: str = ALICE, **content: Any) -> "Room":
        self.events[type, state_key] = Stored(type, state_key, sender, content)
        return self

    def levels(self, **content: Any) -> "Room":
        users = {} if self.version.creators_privileged else {ALICE: 100}
        users.update(content.pop("users", {}))
        return self.put("m.room.power_levels", "", users=users, **content)

    def member(self, membership: str, *people: str) -> "Room":
        for person in people:
            self.put("m.room.member", person, membership=membership)
        return self

    def join_rule(self, rule: Any) -> "Room":
        return self.put("m.room.join_rules", "", join_rule=rule)

    def send(
        self, sender: str, type: str, content: dict[str, Any], state_key: str | None = None
    ) -> None:
        check(self.version, Draft(type, sender, self.id, content, state_key), self)

    def set_member(self, sender: str, target: str, membership: Any, **content: Any) -> None:
        self.send(sender, "m.room.member", {"membership": membership, **content}, target)


class Cases(TestCase):
    def expect(self, refusal: str | None, action: Any, *args: Any, **kwargs: Any) -> None:
        with self.subTest(args=args, kwargs=kwargs):
            if refusal is None:
                action(*args, **kwargs)
                return
            with self.assertRaises(Forbidden) as refused:
                action(*args, **kwargs)
            self.assertIn(refusal, refused.exception.error)


class Creation(Cases):
    def create(self, version_id: str, content: dict[str, Any], **changes: Any) -> None:
        version = VERSIONS[version_id]
        room_id = None if version.room_id_from_create else "!room:hs"
        fields = {"type": "m.room.create", "sender": ALICE, "room_id": room_id, "state_key": ""}
        empty = Room(version_id)
        empty.events.clear()
        check(version, Draft(content=content, **{**fields, **changes}), empty)

    def test_a_room_is_created_as_its_version_says(self) -> None:
        for version_id, content, refusal in (
            ("1", {"creator": ALICE}, None),
            *[(v, {"room_version": v, "creator": ALICE}, None) for v in CREATOR_NAMED],
            *[(v, {"room_version": v}, "must name the creator") for v in CREATOR_NAMED],
            *[
                (v, {"room_version": v, "creator": 5}, "must name the creator")
                for v in CREATOR_NAMED
            ],
            ("11", {"room_version": "11"}, None),
            ("11", {"room_version": "11", "additional_creators": 5}, None),
            ("12", {"room_version": "12"}, None),
            ("12", {"room_version": "12", "additional_creators": [BOB, CAROL]}, None),
            ("12", {"room_version": "12", "additional_creators": BOB}, "list of user ids"),
            ("12", {"room_version": "12", "additional_creators": None}, "list of user ids"),
            ("12", {"room_version": "12", "additional_creators": [BOB, 5]}, "list of user ids"),
            ("12", {"room_version": "12", "additional_creators": ["bob"]}, "list of user ids"),
            ("12", {"room_version": "12", "additional_creators": ["@bob"]}, "list of user ids"),
            (
                "12",
                {"room_version": "12", "additional_creators": [f"@{'b' * 252}:hs"]},
                "list of user ids",
            ),
            ("2", {"creator": ALICE}, "must say room_version '2'"),
            ("11", {}, "must say room_version '11'"),
            ("11", {"room_version": "12"}, "must say room_version '11'"),
            ("12", {"room_version": {}}, "must say room_version '12'"),
        ):
            self.expect(refusal, self.create, version_id, content)

    def test_the_room_id_belongs_to_the_creators_server_or_follows_from_the_event(self) -> None:
        for version_id in OLD:
            content = {"room_version": version_id, "creator": ALICE}
            refusal = "must name the server"
            self.expect(None, self.create, version_id, content, room_id="!other:hs")
            self.expect(refusal, self.create, version_id, content, room_id="!room:elsewhere")
            self.expect(refusal, self.create, version_id, content, room_id=None)
        self.expect("follows from", self.create, "12", {"room_version": "12"}, room_id="!room:hs")

    def test_a_room_is_created_once(self) -> None:
        for version_id in VERSIONS:
            room = Room(version_id)
            content = dict(room.events["m.room.create", ""].content)
            self.expect("exists already", room.send, ALICE, "m.room.create", content, "")

    def test_nothing_happens_in_a_room_that_was_never_created(self) -> None:
        for version_id in VERSIONS:
            room = Room(version_id)
            del room.events["m.room.create", ""]
            self.expect("never created", room.send, ALICE, "m.room.message", {})
            self.expect("never created", room.set_member, ALICE, ALICE, "join")

    def test_in_version_12_the_room_id_is_the_hash_of_the_create_event(self) -> None:
        for version_id, refusal in (*((v, None) for v in OLD), ("12", "not the hash")):
            room = Room(version_id)
            room.id = "!other:hs"
            self.expect(refusal, room.send, ALICE, "m.room.message", {})

    def test_only_the_creator_joins_a_new_room_without_an_invite(self) -> None:
        for version_id in VERSIONS:
            room = Room(version_id, additional_creators=[BOB])
            del room.events["m.room.member", ALICE]
            self.expect(None, room.set_member, ALICE, ALICE, "join")
            self.expect("not invited", room.set_member, BOB, BOB, "join")
            self.expect("for somebody else", room.set_member, BOB, ALICE, "join")
            self.expect("not a member", room.send, ALICE, "m.room.power_levels", {}, "")
            room.member("leave", ALICE)
            self.expect("not invited", room.set_member, ALICE, ALICE, "join")

    def test_a_room_without_federation_is_closed_to_other_servers(self) -> None:
        for federate, refusal in ((False, "other servers"), (True, None), (None, None)):
            room = Room("11", **{"m.federate": federate}).join_rule("public")
            self.expect(refusal, room.set_member, "@zoe:else", "@zoe:else", "join")
            self.expect(None, room.set_member, BOB, BOB, "join")


class Joining(Cases):
    def test_the_join_rule_and_the_membership_decide(self) -> None:
        by_invite = ("not invited", "not invited", None, None)
        for rule, known_since, outcomes in (
            ("public", 1, (None, None, None, None)),
            ("invite", 1, by_invite),
            ("knock", 7, by_invite),
            ("restricted", 8, by_invite),
            ("knock_restricted", 10, by_invite),
            ("private", 13, ()),
            (5, 13, ()),
            ({"a": 1}, 13, ()),
        ):
            for version_id in VERSIONS:
                room = Room(version_id).join_rule(rule)
                known = int(version_id) >= known_since
                leave, knock, invite, join = outcomes if known else ["lets nobody in"] * 4
                for membership, refusal in (
                    ("leave", leave),
                    ("knock", knock),
                    ("invite", invite),
                    ("join", join),
                    ("ban", "banned"),
                ):
                    room.member(membership, BOB)
                    self.expect(refusal, room.set_member, BOB, BOB, "join")
                del room.events["m.room.member", BOB]
                self.expect(leave, room.set_member, BOB, BOB, "join")

    def test_without_a_join_rule_the_room_is_by_invite(self) -> None:
        for version_id in VERSIONS:
            room = Room(version_id)
            self.expect("not invited", room.set_member, BOB, BOB, "join")
            self.expect(None, room.member("invite", BOB).set_member, BOB, BOB, "join")

    def test_nobody_joins_for_somebody_else(self) -> None:
        room = Room("11").join_rule("public")
        self.expect("for somebody else", room.set_member, ALICE, BOB, "join")

    def test_a_restricted_join_needs_a_member_who_may_invite(self) -> None:
        for version_id, version in VERSIONS.items():
            for rule in version.restricted_rules:
                room = Room(version_id).join_rule(rule).member("join", CAROL).member("leave", DAVE)
                room.levels(invite=50, users={CAROL: 50, DAVE: 100})

                def join(authoriser: Any, room: Room = room) -> None:
                    room.set_member(BOB, BOB, "join", **{AUTHORISED: authoriser})

                self.expect(None, join, CAROL)
                self.expect(None, join, ALICE)
                self.expect("not a member", join, DAVE)
                self.expect("not a member", join, EVE)
                self.expect("not signed", join, "@carol:elsewhere")
                self.expect("not signed", join, "carol:hs")
                self.expect("not signed", join, 5)
                self.expect("not signed", join, None)
                self.expect("not signed", join, ["@carol:hs"])
                room.levels(invite=51, users={CAROL: 50})
                self.expect("may not invite", join, CAROL)
                self.expect("banned", room.member("ban", BOB).set_member, BOB, BOB, "join")
                self.expect("banned", join, ALICE)

    def test_before_version_8_nobody_vouches_for_a_join(self) -> None:
        for version_id in VERSIONS:
            known = int(version_id) >= 8
            room = Room(version_id).join_rule("public")
            refusal = "not signed" if known else None
            self.expect(refusal, room.set_member, BOB, BOB, "join", **{AUTHORISED: 5})
            room.join_rule("restricted")
            refusal = None if known else "lets nobody in"
            self.expect(refusal, room.set_member, BOB, BOB, "join", **{AUTHORISED: ALICE})

    def test_nobody_vouches_for_a_join_where_the_rule_asks_for_an_invite(self) -> None:
        for rule in ("invite", "knock"):
            room = Room("11").join_rule(rule)
            self.expect("not invited", room.set_member, BOB, BOB, "join", **{AUTHORISED: ALICE})


class Knocking(Cases):
    def test_the_join_rule_and_the_membership_decide(self) -> None:
        for version_id in VERSIONS:
            accept = ["knock"] * (int(version_id) >= 7) + ["knock_restricted"] * (
                int(version_id) >= 10
            )
            for rule in accept:
                room = Room(version_id).join_rule(rule)
                self.expect(None, room.set_member, BOB, BOB, "knock")
                for membership, refusal in (
                    ("leave", None),
                    ("knock", None),
                    ("invite", "no need"),
                    ("join", "no need"),
                    ("ban", "banned"),
                ):
                    room.member(membership, BOB)
                    self.expect(refusal, room.set_member, BOB, BOB, "knock")
                room.member("leave", BOB)
                self.expect("somebody else", room.set_member, ALICE, BOB, "knock")
            others = {"knock", "knock_restricted"} - set(accept)
            for rule in ("public", "invite", "restricted", "private", 5, ["knock"], *others):
                room = Room(version_id).join_rule(rule)
                self.expect("does not accept knocks", room.set_member, BOB, BOB, "knock")
            self.expect("does not accept", Room(version_id).set_member, BOB, BOB, "knock")


class Inviting(Cases):
    def test_the_level_of_the_sender_and_the_membership_of_the_target_decide(self) -> None:
        for version_id in VERSIONS:
            room = Room(version_id).member("join", BOB)
            self.expect(None, room.set_member, BOB, CAROL, "invite")
            room.levels(invite=50, users={BOB: 49})
            self.expect("power level 50", room.set_member, BOB, CAROL, "invite")
            room.levels(invite=50, users={BOB: 50})
            self.expect("not a member", room.set_member, DAVE, CAROL, "invite")
            for membership, refusal in (
                ("leave", None),
                ("knock", None),
                ("invite", None),
                ("join", "already"),
                ("ban", "lift the ban"),
            ):
                room.member(membership, CAROL)
                self.expect(refusal, room.set_member, BOB, CAROL, "invite")

    def test_a_third_party_invite_is_signed_with_a_key_that_the_room_knows(self) -> None:
        right, wrong = generate_signing_key("1"), generate_signing_key("1")
        key = encode_verify_key_base64(get_verify_key(right))
        other = encode_verify_key_base64(get_verify_key(wrong))
        proof = {"mxid": BOB, "token": "t"}
        signed = sign_json(dict(proof), "id.example", right)
        for version_id in VERSIONS:
            room = Room(version_id).member("join", CAROL).levels(invite=50)
            room.put("m.room.third_party_invite", "t", CAROL, public_key=key)

            def invite(third_party: Any, sender: str = CAROL, room: Room = room) -> None:
                room.set_member(sender, BOB, "invite", third_party_invite=third_party)

            self.expect(None, invite, {"signed": signed, "display_name": "Bob"})
            self.expect("somebody else", invite, {"signed": signed}, sender=ALICE)
            for third_party, refusal in (
                (None, "signed token"),
                ({}, "signed token"),
                ({"signed": 5}, "signed token"),
                ({"signed": {**signed, "mxid": EVE}}, "signed token"),
                ({"signed": {"mxid": BOB}}, "signed token"),
                ({"signed": {**signed, "token": ["t"]}}, "signed token"),
                ({"signed": {**signed, "token": "u"}}, "no third-party invite"),
                ({"signed": proof}, "not signed with"),
                ({"signed": {**signed, "added": 1}}, "not signed with"),
                ({"signed": sign_json(dict(proof), "id.example", wrong)}, "not signed with"),
                ({"signed": {**proof, "signatures": [5]}}, "not signed with"),
                ({"signed": {**proof, "signatures": {"a": {"b": "c", "d": 5}}}}, "not signed with"),
            ):
                self.expect(refusal, invite, third_party)
            room.put("m.room.third_party_invite", "t", CAROL, public_keys=[5, {"public_key": key}])
            self.expect(None, invite, {"signed": signed})
            room.put("m.room.third_party_invite", "t", CAROL, public_key=other, public_keys=5)
            self.expect("not signed with", invite, {"signed": signed})
            many = [{"public_key": other}] * 60 + [{"public_key": key}]
            room.put("m.room.third_party_invite", "t", CAROL, public_keys=many)
            self.expect("not signed with", invite, {"signed": signed})
            room.put("m.room.third_party_invite", "t", CAROL, public_key=key)
            room.member("ban", BOB)
            self.expect("lift the ban", invite, {"signed": signed})

    def test_a_third_party_invite_takes_the_invite_level_whatever_the_event_levels_say(
        self,
    ) -> None:
        room = Room("11").member("join", BOB)
        send = ("m.room.third_party_invite", {}, "token")
        room.levels(invite=10, users={BOB: 10}, events={"m.room.third_party_invite": 90})
        self.expect(None, room.send, BOB, *send)
        room.levels(invite=11, users={BOB: 10}, events={"m.room.third_party_invite": 0})
        self.expect("power level 11", room.send, BOB, *send)


class LeavingAndBanning(Cases):
    def test_people_leave_and_decline_for_themselves(self) -> None:
        for version_id in VERSIONS:
            room = Room(version_id)
            self.expect("not in this room", room.set_member, BOB, BOB, "leave")
            for membership, refusal in (
                ("join", None),
                ("invite", None),
                ("knock", None),
                ("leave", "not in this room"),
                ("ban", "not in this room"),
            ):
                room.member(membership, BOB)
                self.expect(refusal, room.set_member, BOB, BOB, "leave")

    def test_removing_and_banning_take_the_level_and_a_lower_target(self) -> None:
        for version_id in VERSIONS:
            room = Room(version_id).member("join", BOB, CAROL)
            for action, level in (("leave", "kick"), ("ban", "ban")):
                for needed, bob, carol, refusal in (
                    (50, 50, 49, None),
                    (50, 49, 0, "power level 50"),
                    (50, 50, 50, "as high as yours"),
                    (50, 50, 51, "as high as yours"),
                    (0, 0, -1, None),
                    (0, 0, 0, "as high as yours"),
                ):
                    room.levels(**{level: needed}, users={BOB: bob, CAROL: carol})
                    self.expect(refusal, room.set_member, BOB, CAROL, action)
                self.expect("as high as yours", room.set_member, BOB, ALICE, action)
                self.expect("not a member", room.set_member, DAVE, CAROL, action)

    def test_the_default_level_to_remove_and_ban_is_50(self) -> None:
        room = Room("11").member("join", BOB, CAROL)
        for bob, refusal in ((49, "power level 50"), (50, None)):
            room.levels(users={BOB: bob})
            self.expect(refusal, room.set_member, BOB, CAROL, "leave")
            self.expect(refusal, room.set_member, BOB, CAROL, "ban")

    def test_lifting_a_ban_takes_both_levels(self) -> None:
        for version_id in VERSIONS:
            room = Room(version_id).member("join", BOB).member("ban", CAROL)
            for kick, ban, refusal in (
                (50, 50, None),
                (51, 50, "power level 51 in this room to remove"),
                (50, 51, "power level 51 in this room to lift a ban"),
            ):
                room.levels(kick=kick, ban=ban, users={BOB: 50, CAROL: 49})
                self.expect(refusal, room.set_member, BOB, CAROL, "leave")
            room.levels(users={BOB: 50, CAROL: 50})
            self.expect("as high as yours", room.set_member, BOB, CAROL, "leave")

    def test_people_can_be_banned_before_they_come_but_not_by_themselves(self) -> None:
        room = Room("11").levels()
        self.expect(None, room.set_member, ALICE, DAVE, "ban")
        self.expect("as high as yours", room.set_member, ALICE, ALICE, "ban")

    def test_creators_of_version_12_are_out_of_reach_even_for_each_other(self) -> None:
        room = Room("12", additional_creators=[BOB]).member("join", BOB, CAROL)
        room.levels(users={CAROL: 2**53 - 1})
        for sender, target, refusal in (
            (ALICE, CAROL, None),
            (BOB, CAROL, None),
            (CAROL, ALICE, "as high as yours"),
            (CAROL, BOB, "as high as yours"),
            (ALICE, BOB, "as high as yours"),
            (BOB, ALICE, "as high as yours"),
        ):
            self.expect(refusal, room.set_member, sender, target, "leave")
            self.expect(refusal, room.set_member, sender, target, "ban")

    def test_memberships_have_a_state_key_and_a_known_name(self) -> None:
        room = Room("11")
        for membership in ("Join", "", "member"):
            self.expect("must be one of join,", room.set_member, ALICE, ALICE, membership)
        for membership in (None, 5, ["join"], {}):
            self.expect("needs a state_key", room.set_member, ALICE, ALICE, membership)
        join = {"membership": "join"}
        self.expect("needs a state_key", room.send, ALICE, "m.room.member", join)
        self.expect("needs a state_key", room.send, ALICE, "m.room.member", {}, ALICE)


class Sending(Cases):
    def test_only_members_send(self) -> None:
        for membership in ("leave", "invite", "knock", "ban"):
            room = Room("11").member(membership, BOB).levels(users={BOB: 100})
            self.expect("not a member", room.send, BOB, "m.room.message", {})
        self.expect("not a member", Room("12").send, BOB, "m.room.message", {})

    def test_the_level_depends_on_the_type_and_on_being_state(self) -> None:
        levels = {"events": {"m.room.name": 20, "m.room.message": 30}}
        for version_id in VERSIONS:
            room = Room(version_id).member("join", BOB)
            for content, type, state_key, needed in (
                ({}, "m.room.message", None, 0),
                ({}, "m.room.topic", "", 50),
                ({"events_default": 10}, "m.room.message", None, 10),
                ({"state_default": 10}, "m.room.topic", "", 10),
                ({"state_default": 10, **levels}, "m.room.name", "", 20),
                ({"state_default": 10, **levels}, "m.room.name", None, 20),
                ({"events_default": 10, **levels}, "m.room.message", None, 30),
                ({"events_default": 10, **levels}, "m.sticker", None, 10),
            ):
                room.levels(**content, users={BOB: needed})
                self.expect(None, room.send, BOB, type, {}, state_key)
                room.levels(**content, users={BOB: needed - 1})
                refusal = f"power level {needed} in this room to send {type}"
                self.expect(refusal, room.send, BOB, type, {}, state_key)

    def test_without_power_levels_only_the_creator_sends_state(self) -> None:
        for version_id in VERSIONS:
            room = Room(version_id, additional_creators=[CAROL]).member("join", BOB, CAROL)
            self.expect(None, room.send, ALICE, "m.room.name", {}, "")
            self.expect(None, room.send, BOB, "m.room.message", {})
            self.expect("power level 50", room.send, BOB, "m.room.name", {}, "")
            carol = None if version_id == "12" else "power level 50"
            self.expect(carol, room.send, CAROL, "m.room.name", {}, "")

    def test_power_levels_that_leave_out_the_creator_bind_him_until_version_11(self) -> None:
        for version_id, refusal in (*((v, "level 50") for v in OLD), ("12", None)):
            room = Room(version_id).put("m.room.power_levels", "", users={BOB: 100})
            self.expect(refusal, room.send, ALICE, "m.room.name", {}, "")

    def test_until_version_10_the_creator_is_who_the_content_names(self) -> None:
        for version_id in CREATOR_NAMED:
            room = Room(version_id).member("join", BOB)
            room.events["m.room.create", ""].content["creator"] = BOB
            self.expect(None, room.send, BOB, "m.room.name", {}, "")
            self.expect("power level 50", room.send, ALICE, "m.room.name", {}, "")

    def test_state_under_a_user_id_is_that_persons(self) -> None:
        room = Room("11").member("join", BOB).levels(state_default=0)
        for state_key, refusal in (
            (BOB, None),
            ("bob", None),
            (ALICE, "somebody else"),
            ("@", "somebody else"),
            (BOB + "_device", "somebody else"),
        ):
            self.expect(refusal, room.send, BOB, "org.example.call", {}, state_key)

    def test_since_version_6_aliases_are_ordinary_state(self) -> None:
        for version_id in list(VERSIONS)[5:]:
            room = Room(version_id).member("join", BOB).levels()
            self.expect(None, room.send, ALICE, "m.room.aliases", {}, "elsewhere")
            self.expect("power level 50", room.send, BOB, "m.room.aliases", {}, "hs")
            self.expect("not a member", room.send, CAROL, "m.room.aliases", {}, "hs")

    def test_until_version_5_aliases_belong_to_the_server_they_are_named_for(self) -> None:
        for version_id in list(VERSIONS)[:5]:
            room = Room(version_id, **{"m.federate": False}).levels(state_default=100)
            for sender in (ALICE, BOB):
                self.expect(None, room.send, sender, "m.room.aliases", {}, "hs")
                self.expect("belongs to", room.send, sender, "m.room.aliases", {}, "elsewhere")
                self.expect("belongs to", room.send, sender, "m.room.aliases", {})
            self.expect("other servers", room.send, "@zoe:else", "m.room.aliases", {}, "else")


class Redacting(Cases):
    def test_the_event_takes_its_own_level_not_the_redact_level(self) -> None:
        for version_id in VERSIONS:
            room = Room(version_id).member("join", BOB).levels(redact=90)
            self.expect(None, room.send, BOB, "m.room.redaction", {"redacts": "$x:hs"})
            room.levels(redact=0, events={"m.room.redaction": 10})
            self.expect("power level 10", room.send, BOB, "m.room.redaction", {"redacts": "$x:hs"})

    def test_in_versions_1_and_2_the_rules_guard_the_events_of_other_servers(self) -> None:
        for version_id in VERSIONS:
            refusal = "power level 90" if version_id in ("1", "2") else None
            room = Room(version_id).member("join", BOB).levels(redact=90)
            for redacts in ("$x:else", "$x", 5, None):
                content = {"redacts": redacts}
                self.expect(refusal, room.send, BOB, "m.room.redaction", content)
                self.expect(None, room.send, ALICE, "m.room.redaction", content)
            draft = Draft("m.room.redaction", BOB, room.id, {}, redacts="$x:hs")
            self.expect(None, check, room.version, draft, room)
            room.levels(redact=0)
            self.expect(None, room.send, BOB, "m.room.redaction", {"redacts": "$x:else"})

    def test_messages_of_others_take_the_redact_level(self) -> None:
        for version_id in VERSIONS:
            room = Room(version_id).member("join", BOB).levels(redact=40, users={CAROL: 40})
            for sender, author, refusal in (
                (BOB, BOB, None),
                (BOB, ALICE, "power level 40"),
                (CAROL, BOB, None),
                (CAROL, ALICE, None),
                (ALICE, BOB, None),
            ):
                self.expect(refusal, check_redaction, room.version, sender, author, room)
        self.expect("50", check_redaction, VERSIONS["11"], BOB, ALICE, Room("11"))


class AuthEvents(TestCase):
    def keys(self, version_id: str, type: str, content: Any, state_key: Any = None) -> set[str]:
        draft = Draft(type, BOB, "!room:hs", content, state_key)
        keys = auth_event_keys(VERSIONS[version_id], draft)
        self.assertEqual(len(keys), len(set(keys)))
        return {f"{type.removeprefix('m.room.')}/{state_key}" for type, state_key in keys}

    def test_the_selection_of_the_specification(self) -> None:
        always = {"power_levels/", f"member/{BOB}"}
        token = {"signed": {"token": "t"}}
        for type, content, state_key, more in (
            ("m.room.message", {}, None, set()),
            ("m.room.name", {}, "", set()),
            ("m.room.member", {"membership": "join"}, BOB, {"join_rules/"}),
            ("m.room.member", {"membership": "knock"}, BOB, {"join_rules/"}),
            ("m.room.member", {"membership": "leave"}, BOB, set()),
            ("m.room.member", {"membership": "leave"}, CAROL, {f"member/{CAROL}"}),
            ("m.room.member", {"membership": "ban"}, CAROL, {f"member/{CAROL}"}),
            (
                "m.room.member",
                {"membership": "invite"},
                CAROL,
                {f"member/{CAROL}", "join_rules/"},
            ),
            (
                "m.room.member",
                {"membership": "invite", "third_party_invite": token},
                CAROL,
                {f"member/{CAROL}", "join_rules/", "third_party_invite/t"},
            ),
            (
                "m.room.member",
                {"membership": "join", "third_party_invite": token, AUTHORISED: DAVE},
                BOB,
                {"join_rules/", f"member/{DAVE}"},
            ),
            ("m.room.member", {"membership": "join", AUTHORISED: BOB}, BOB, {"join_rules/"}),
            (
                "m.room.member",
                {"membership": "invite", AUTHORISED: DAVE},
                CAROL,
                {f"member/{CAROL}", "join_rules/"},
            ),
        ):
            with self.subTest(type=type, content=content):
                for version_id in OLD:
                    got = self.keys(version_id, type, content, state_key)
                    unknown = {f"member/{DAVE}"} if int(version_id) < 8 else set()
                    self.assertEqual(got, {"create/"} | always | (more - unknown))
                self.assertEqual(self.keys("12", type, content, state_key), always | more)

    def test_the_create_event_has_none(self) -> None:
        for version_id in VERSIONS:
            self.assertEqual(self.keys(version_id, "m.room.create", {}, ""), set())


class Creators(TestCase):
    def test_who_they_are(self) -> None:
        for version_id, expected in (
            *((v, (BOB,)) for v in CREATOR_NAMED),
            ("11", (ALICE,)),
            ("12", (ALICE, CAROL)),
        ):
            create = Stored(
                "m.room.create", "", ALICE, {"creator": BOB, "additional_creators": [CAROL]}
            )
            self.assertEqual(creators_of(VERSIONS[version_id], create), expected)

    def test_the_levels_of_a_room(self) -> None:
        room = Room("11").levels(users={BOB: 7})
        levels = levels_in(room.version, room)
        self.assertEqual([levels.level_of(p) for p in (ALICE, BOB, CAROL)], [100, 7, 0])

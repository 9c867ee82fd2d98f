"""Identifiers: which texts are one, and whose they are."""

from typing import Any
from unittest import TestCase

from hypothesis import given, settings
from hypothesis import strategies as st

from federation_disabled.ours import Ours
from schema import ids
from schema.errors import Forbidden, InvalidParam, InvalidUsername, NotFound

SERVERS = (
    "example.org",
    "localhost:8008",
    "1.2.3.4",
    "1.2.3.4:1234",
    "[1234:5678::abcd]:5678",
    "[::1]",
)
HASH = "tqzHsmL8cFEbL4pwFCp_l3AqKb1xDE9l4iVqf9u-6zU"
READERS = (
    ids.user_id,
    ids.room_id,
    ids.room_alias,
    ids.event_id,
    ids.device_id,
    ids.mxc_uri,
    ids.server_name,
)

servers = st.sampled_from(SERVERS) | st.from_regex(r"\A[0-9A-Za-z.-]{1,40}(:[0-9]{1,5})?\Z")
localparts = st.text(
    st.characters(exclude_characters=":\0", exclude_categories=["Cs"]), max_size=40
)
anything = (
    st.none()
    | st.integers()
    | st.lists(st.text())
    | st.text(st.characters() | st.sampled_from("@!#$:[]0.\0\ud800"), max_size=30)
)


class Grammar(TestCase):
    def test_ids_as_the_specification_shows_them(self) -> None:
        for read, text in (
            (ids.user_id, "@alice:example.org"),
            (ids.user_id, "@a.b_c=d-e/f+0:matrix.org:8888"),
            (ids.room_id, "!sefiuhWgwghwWgh:example.com"),
            (ids.room_id, f"!{HASH}"),
            (ids.room_alias, "#garden party:example.org"),
            (ids.event_id, f"${HASH}"),
            (ids.event_id, "$143273582443PhrSn:example.org"),
            (ids.event_id, "$Rqnc+F/dvnEYJTyHq/iKxU2bZ1CI92-kuZq3a5lr5Zg"),
            (ids.device_id, "GHTYAJCE"),
            (ids.mxc_uri, "mxc://example.org:8448/AQwafuaFswefuhsfAFAgsw"),
            (ids.mxc_uri, "mxc://[::1]/a_b-C"),
        ):
            self.assertEqual(read(text), text)

    def test_historical_user_ids(self) -> None:
        for text in ("@Alice:example.org", "@:example.org", "@élise~ :example.org", "@\x01\n:a"):
            self.assertEqual(ids.user_id(text), text)

    def test_what_is_none_of_them(self) -> None:
        for read, texts in (
            (ids.user_id, ("", "@", "alice", "alice:example.org", "@alice", "@alice:", "@a\0:b")),
            (ids.user_id, ("@a:b:c", "@a:b c", "@a:ex_ample", "@a:b\n", "@a:[::1", "@a:b:123456")),
            (ids.user_id, ("@\ud800:example.org", "!a:example.org", " @a:b", "@a:é.org")),
            (
                ids.room_id,
                ("!", "!:example.org", "!short", f"!{HASH}x", f"!{HASH[:-1]}+", f"${HASH}"),
            ),
            (ids.room_alias, ("#", "#:example.org", "#a", "a:example.org", "#a\0:example.org")),
            (ids.event_id, ("", "$", f"!{HASH}", "$\0", "$\udfff")),
            (ids.device_id, ("", "\0", "A\0", "\ud800")),
            (
                ids.mxc_uri,
                ("mxc://", "mxc://a", "mxc://a/", "mxc://a/b/c", "http://a/b", "mxc:///b"),
            ),
            (ids.mxc_uri, ("mxc://a/..", "mxc://a/%2e", "mxc://a/b?c", "mxc://a/é", "mxc://a/b\n")),
            (ids.server_name, ("", "a b", "a/b", "[::1", "a:", "a:port", "a\n")),
        ):
            for text in texts:
                with self.assertRaises(InvalidParam, msg=f"{read.__name__} {text!r}"):
                    read(text)

    def test_255_bytes_are_the_most(self) -> None:
        for read, sigil, end in (
            (ids.user_id, "@", ":a"),
            (ids.room_id, "!", ":a"),
            (ids.room_alias, "#", ":a"),
            (ids.event_id, "$", ""),
        ):
            room = 255 - len(sigil + end)
            self.assertEqual(len(read(sigil + "x" * room + end)), 255)
            read(sigil + "ü" * (room // 2) + end)
            for text in (sigil + "x" * (room + 1) + end, sigil + "ü" * (room // 2 + 1) + end):
                self.assertRaises(InvalidParam, read, text)
        self.assertRaises(InvalidParam, ids.device_id, "x" * 513)

    def test_names_for_new_accounts(self) -> None:
        for text in ("alice", "a.b_c=d-e/f+0", "1", "_irc_bob"):
            ids.check_new_localpart(text)
        for text in ("", "Alice", "al ice", "alice:b", "élise", "alice\n", "@alice", "a\0", "a*"):
            self.assertRaises(InvalidUsername, ids.check_new_localpart, text)

    @settings(deadline=None)
    @given(localparts, servers)
    def test_an_id_comes_apart_as_it_was_put_together(self, name: str, server: str) -> None:
        for sigil, read in (("@", ids.user_id), ("#", ids.room_alias), ("!", ids.room_id)):
            if name or sigil == "@":
                identifier: Any = read(f"{sigil}{name}:{server}")
                self.assertEqual(ids.localpart(identifier), name)
                self.assertEqual(ids.domain(identifier), server)
        self.assertEqual(ids.domain(ids.room_id(f"!{HASH}")), "")

    @settings(deadline=None, max_examples=300)
    @given(anything)
    def test_anything_is_read_as_it_is_or_refused(self, text: Any) -> None:
        for read in READERS:
            try:
                self.assertIs(read(text), text)
                text.encode()
                self.assertNotIn("\0", text)
            except InvalidParam as refusal:
                self.assertTrue(refusal.error.startswith("That is not"))


class Belonging(TestCase):
    ours = Ours("example.org")

    def test_ours_pass(self) -> None:
        self.assertEqual(self.ours.user("@alice:example.org"), "@alice:example.org")
        self.assertEqual(self.ours.room("!garden:example.org"), "!garden:example.org")
        self.assertEqual(self.ours.room(f"!{HASH}"), f"!{HASH}")
        self.assertEqual(self.ours.alias("#garden:example.org"), "#garden:example.org")
        self.ours.media("example.org")
        self.assertTrue(self.ours.owns(ids.room_id(f"!{HASH}")))
        self.assertTrue(self.ours.owns(ids.user_id("@alice:example.org")))

    def test_those_of_others_are_refused_and_told_why(self) -> None:
        for server in (
            "matrix.org",
            "EXAMPLE.ORG",
            "example.org:8448",
            "example.org.",
            "x.example.org",
        ):
            for refusal, read, text in (
                (Forbidden, self.ours.user, f"@bob:{server}"),
                (NotFound, self.ours.room, f"!garden:{server}"),
                (NotFound, self.ours.alias, f"#garden:{server}"),
                (NotFound, self.ours.media, server),
            ):
                with self.assertRaises(refusal) as caught:
                    read(text)
                self.assertIn("federation is off", caught.exception.error)
            self.assertFalse(self.ours.owns(ids.user_id(f"@bob:{server}")))

    def test_what_is_no_id_is_told_apart_from_a_foreign_one(self) -> None:
        for read in (self.ours.user, self.ours.room, self.ours.alias):
            for text in ("", "bob", "bob:matrix.org", None, 5):
                self.assertRaises(InvalidParam, read, text)

    def test_a_new_account(self) -> None:
        self.assertEqual(self.ours.new_user("alice"), "@alice:example.org")
        self.assertEqual(len(self.ours.new_user("x" * 242)), 255)
        for name in ("Alice", "", "x" * 243):
            self.assertRaises(InvalidUsername, self.ours.new_user, name)

    def test_a_server_needs_a_proper_name(self) -> None:
        for server in SERVERS:
            self.assertEqual(Ours(server).user(f"@alice:{server}"), f"@alice:{server}")
        for text in ("", "http://example.org", "exa mple"):
            self.assertRaises(InvalidParam, Ours, text)

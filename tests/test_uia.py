"""Interactive authentication: whoever asks for something delicate proves again who they are."""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any
from unittest import TestCase

from hypothesis import given
from hypothesis import strategies as st

from homeserver.limits import Limits
from homeserver.uia import DUMMY, MAX_SESSIONS, PASSWORD, Uia, request_key
from schema.errors import Forbidden, InteractiveAuth, NotFound
from tests.support import WireTest
from tests.test_accounts import own_password


class InteractiveAuthTest(WireTest):
    async def test_authentication_belongs_to_one_person_and_one_request(self) -> None:
        server = await self.server()
        jon, kim = await server.people("jon", "kim")
        _, question = await jon.call("POST", "/delete_devices", {"devices": ["A"]})
        session = question["session"]
        auth = own_password(jon, session=session)
        code, _ = await jon.call("POST", "/delete_devices", {"devices": ["B"], "auth": auth})
        self.assertEqual(code, 403)
        auth = own_password(kim, session=session)
        code, _ = await kim.call("POST", "/delete_devices", {"devices": ["A"], "auth": auth})
        self.assertEqual(code, 403)
        # Kim's password is right, but it is Jon who is asked.
        code, answer = await jon.call("POST", "/delete_devices", {"devices": ["A"], "auth": auth})
        self.assertEqual((code, answer["errcode"]), (401, "M_FORBIDDEN"))
        auth = own_password(jon, session=session)
        await jon.ask("POST", "/delete_devices", {"devices": ["A"], "auth": auth})
        # What is complete is over: the session alone opens nothing again.
        again = {"devices": ["A"], "auth": {"session": session}}
        self.assertEqual((await jon.call("POST", "/delete_devices", again))[0], 401)

    async def test_guessing_is_limited_for_each_person(self) -> None:
        limits = {"enabled": True, "login": [0.001, 3], "other": [50, 500]}
        server = await self.server(rate_limits=limits)
        lou = await server.person("lou")
        guess = {"devices": ["A"], "auth": own_password(lou, "a wrong guess")}
        for _ in range(3):
            self.assertEqual((await lou.call("POST", "/delete_devices", guess))[0], 401)
        code, answer = await lou.call("POST", "/delete_devices", guess)
        self.assertEqual((code, answer["errcode"]), (429, "M_LIMIT_EXCEEDED"))

    async def test_odd_authentication_is_refused_and_nothing_breaks(self) -> None:
        mia = await (await self.server()).person("mia")
        for auth in (
            {"type": PASSWORD},
            {"type": PASSWORD, "password": 5},
            {"type": PASSWORD, "password": "x", "identifier": 5},
            {"type": PASSWORD, "password": "x", "identifier": {"type": "m.id.odd"}},
            {"type": PASSWORD, "password": "x", "user": "\0"},
            {"type": PASSWORD, "password": "x" * 10_000},
            {"type": "m.login.sso"},
            {"type": DUMMY},
            {"session": "unknown"},
        ):
            code, _ = await mia.call("DELETE", "/devices/A", {"auth": auth})
            self.assertIn(code, (400, 401), auth)


class UiaRulesTest(TestCase):
    """The rules alone, with stages that succeed when they are told to."""

    def setUp(self) -> None:
        self.now = 0
        self.asked: list[str] = []
        stages = dict.fromkeys(("a", "b", "c"), self.stage)
        numbers = iter(range(10**9))
        self.uia = Uia(
            lambda: self.now,
            lambda: sha256(b"%d" % next(numbers)).hexdigest(),
            Limits(lambda: self.now, {}),
            stages,
            {"b": {"key": "value"}, "unused": {}},
        )

    async def stage(self, user_id: str | None, auth: Mapping[str, Any]) -> str:
        self.asked.append(auth["type"])
        if not auth.get("good"):
            raise Forbidden("No")
        return auth["type"] + "!"

    def complete(self, auth: Any, key: str = "k", user_id: str | None = "@a:b") -> Any:
        """The results, or the question as JSON."""
        running = self.uia.complete(user_id, key, auth, [["a", "b"], ["c"]])
        try:
            running.send(None)
        except StopIteration as done:
            return done.value
        except InteractiveAuth as question:
            return question.body()
        raise AssertionError("it waits for something")

    def test_stages_come_in_the_order_of_a_flow(self) -> None:
        session = self.complete(None)["session"]
        refused = self.complete({"session": session, "type": "b", "good": True})
        self.assertEqual((refused["errcode"], self.asked), ("M_FORBIDDEN", []))
        half = self.complete({"session": session, "type": "a", "good": True})
        self.assertEqual(half["completed"], ["a"])
        self.assertEqual(half["params"], {"b": {"key": "value"}})
        self.assertNotIn("errcode", half)
        # The other flow is not open any more, and what is complete is not asked again.
        self.assertIn("errcode", self.complete({"session": session, "type": "c", "good": True}))
        self.assertEqual(self.complete({"session": session, "type": "a"})["completed"], ["a"])
        whole = self.complete({"session": session, "type": "b", "good": True})
        self.assertEqual(whole, {"a": "a!", "b": "b!"})

    def test_a_session_expires_and_their_number_is_bounded(self) -> None:
        session = self.complete({"type": "a", "good": True})["session"]
        self.now += 16 * 60 * 1000
        fresh = self.complete({"session": session, "type": "b", "good": True})
        self.assertNotEqual(fresh["session"], session)
        self.assertEqual(fresh["completed"], [])
        self.assertEqual(len(self.uia), 1)
        with self.assertRaises(NotFound):
            self.uia.check_stage(session, "b")
        for _ in range(MAX_SESSIONS + 10):
            self.complete(None)
        self.assertEqual(len(self.uia), MAX_SESSIONS)

    def test_no_body_is_kept(self) -> None:
        self.complete(None, request_key("POST x", {"new_password": "very secret", "auth": {}}))
        self.assertNotIn("very secret", repr(vars(self.uia)))

    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["a", "b", "c"]), st.booleans(), st.sampled_from(["k", "other"])
            ),
            max_size=8,
        )
    )
    def test_only_a_whole_flow_of_good_stages_for_one_request_opens(
        self, steps: list[tuple[str, bool, str]]
    ) -> None:
        session = self.complete(None)["session"]
        proved: list[str] = []
        for stage, good, key in steps:
            try:
                answer = self.complete({"session": session, "type": stage, "good": good}, key)
            except Forbidden:
                self.assertEqual(key, "other")
                continue
            self.assertEqual(key, "k")
            expected = (["a", "b"], ["c"])
            if good and [*proved, stage] in ([*flow[: len(proved) + 1]] for flow in expected):
                proved.append(stage)
            if proved in expected:
                self.assertEqual(list(answer), proved)
                return
            self.assertEqual(answer["completed"], proved)

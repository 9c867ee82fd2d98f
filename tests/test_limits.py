"""Rate limits: how often somebody may do something, and what they are told when it is too often."""

from tests.support import WireTest

LIMITS = {
    "enabled": True,
    "message": [0.01, 3],
    "login": [0.01, 2],
    "registration": [100, 100],
}


class LimitsTest(WireTest):
    """A small bucket for messages and logins."""

    async def test_who_sends_too_much_is_told_to_wait_and_nobody_else(self) -> None:
        hearth = await self.server(rate_limits=LIMITS)
        alice, bob = await hearth.people("alice", "bob")
        room = await alice.create_room(preset="public_chat")
        await bob.join(room)
        for number in range(3):
            await alice.say(room, str(number))
        path = f"/rooms/{room}/send/m.room.message/late"
        code, answer = await alice.call("PUT", path, {"msgtype": "m.text", "body": "late"})
        self.assertEqual((code, answer["errcode"]), (429, "M_LIMIT_EXCEEDED"))
        self.assertIn("`message`", answer["error"])
        self.assertGreater(answer["retry_after_ms"], 1000)
        await bob.say(room, "I may")
        page = await bob.messages(room)
        self.assertEqual(sum(e["type"] == "m.room.message" for e in page["chunk"]), 4)

    async def test_passwords_cannot_be_guessed_quickly(self) -> None:
        hearth = await self.server(rate_limits=LIMITS)
        await hearth.person("alice")
        codes = []
        for _ in range(4):
            identifier = {"type": "m.id.user", "user": "alice"}
            body = {"type": "m.login.password", "identifier": identifier, "password": "guess"}
            code, _ = await hearth.call("POST", "/login", body)
            codes.append(code)
        self.assertEqual(codes, [403, 403, 429, 429])

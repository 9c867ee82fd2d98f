"""What happens when the server itself is wrong: an answer, and no silence."""

import treq

from tests.support import V3, WireTest


class MistakesTest(WireTest):
    """A handler that gives something which is no JSON."""

    async def test_an_answer_that_cannot_be_written_is_a_500(self) -> None:
        hearth = await self.server()
        alice = await hearth.person("alice")
        self.patch(hearth.app.people.openid, "issue", lambda user_id: ({user_id}, 1))
        response = await treq.post(
            f"{hearth.base}{V3}/user/{alice.id}/openid/request_token",
            headers={"Authorization": f"Bearer {alice.token}"},
            data=b"{}",
            persistent=False,
            timeout=10,
        )
        answer = await response.json()
        self.assertEqual((response.code, answer["errcode"]), (500, "M_UNKNOWN"))
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)

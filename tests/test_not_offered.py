"""What the server does not offer is refused in words that clients understand."""

from tests.support import V3, WireTest


class NotOfferedTest(WireTest):
    """Each answer has the errcode after which clients go on without the feature."""

    async def test_clients_are_told_what_is_not_there(self) -> None:
        hearth = await self.server()
        alice = await hearth.person("alice")
        for path, code, errcode in (
            (f"{V3}/login/sso/redirect?redirectUrl=x", 404, "M_UNRECOGNIZED"),
            (f"{V3}/login/sso/redirect/gitlab?redirectUrl=x", 404, "M_UNRECOGNIZED"),
            (f"{V3}/voip/turnServer", 404, "M_NOT_FOUND"),
            (f"{V3}/thirdparty/protocol/irc", 404, "M_NOT_FOUND"),
            (f"{V3}/thirdparty/location?alias=%23x:localhost", 404, "M_NOT_FOUND"),
            (f"{V3}/thirdparty/location/irc", 404, "M_NOT_FOUND"),
            (f"{V3}/thirdparty/user?userid=@x:localhost", 404, "M_NOT_FOUND"),
            (f"{V3}/thirdparty/user/irc", 404, "M_NOT_FOUND"),
            ("/.well-known/matrix/policy_server", 404, "M_NOT_FOUND"),
            ("/.well-known/matrix/support", 404, "M_NOT_FOUND"),
            ("/_matrix/client/v1/media/preview_url?url=http://x", 404, "M_UNRECOGNIZED"),
            ("/_matrix/client/v1/auth_metadata", 404, "M_UNRECOGNIZED"),
        ):
            got, answer = await alice.call("GET", path)
            self.assertEqual((got, answer["errcode"]), (code, errcode), path)
            self.assertTrue(answer["error"])
        self.assertEqual(await alice.ask("GET", "/thirdparty/protocols"), {})
        flows = (await alice.ask("GET", "/login"))["flows"]
        self.assertNotIn("m.login.sso", [flow["type"] for flow in flows])

    async def test_what_belongs_to_application_services_is_not_for_people(self) -> None:
        hearth = await self.server()
        alice = await hearth.person("alice")
        ping = "/_matrix/client/v1/appservice/irc/ping"
        listing = "/directory/list/appservice/irc/!x:localhost"
        for method, path in (("POST", ping), ("PUT", listing)):
            code, answer = await alice.call(method, path, {"visibility": "public"})
            self.assertEqual((code, answer["errcode"]), (403, "M_FORBIDDEN"))
            code, answer = await hearth.call(method, path, {})
            self.assertEqual((code, answer["errcode"]), (401, "M_MISSING_TOKEN"))

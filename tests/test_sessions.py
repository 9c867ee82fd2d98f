"""Sessions: logging in and out, tokens that expire, and thieves."""

from collections.abc import Callable
from itertools import count
from typing import Any
from unittest import TestCase

from twisted.internet import reactor
from twisted.internet.defer import Deferred

import homeserver.assembly.people
from homeserver.last_seen import PORTION
from homeserver.passwords import Passwords
from homeserver.sessions import ACCESS_TOKEN_MS, MAX_CACHED, SPENT_KEPT, Sessions
from schema.errors import UnknownToken
from storage.sessions import AccessToken
from tests.support import PASSWORD, Person, Server, WireTest
from tests.test_accounts import Later

PASSWORD_LOGIN = {"type": "m.login.password", "password": PASSWORD}


async def whoami(server: Server, tokens: dict[str, Any]) -> tuple[int, bool | None]:
    """The status, and whether the client may keep its keys."""
    code, answer = await server.call("GET", "/account/whoami", token=tokens["access_token"])
    return code, answer.get("soft_logout")


async def refresh(server: Server, tokens: dict[str, Any]) -> tuple[int, Any]:
    """One refresh."""
    body = {"refresh_token": tokens["refresh_token"]}
    return await server.call("POST", "/refresh", body)


class LoginTest(WireTest):
    async def test_people_log_in_by_name_or_by_id_in_any_case(self) -> None:
        server = await self.server()
        await server.person("anna")
        for name in ("anna", "ANNA", "@anna:localhost", " anna "):
            identifier = {"type": "m.id.user", "user": name}
            body = {**PASSWORD_LOGIN, "identifier": identifier}
            code, answer = await server.call("POST", "/login", body)
            self.assertEqual((code, answer["user_id"]), (200, "@anna:localhost"))
            self.assertRegex(answer["device_id"], "^[A-Z]{10}$")
        body = {**PASSWORD_LOGIN, "user": "anna"}
        self.assertEqual((await server.call("POST", "/login", body))[0], 200)
        _, flows = await server.call("GET", "/login")
        token = {"type": "m.login.token", "get_login_token": True}
        self.assertEqual(flows, {"flows": [{"type": "m.login.password"}, token]})

    async def test_an_unknown_name_and_a_wrong_password_look_the_same(self) -> None:
        server = await self.server()
        await server.person("anna")
        answers = [
            await server.call("POST", "/login", {**PASSWORD_LOGIN, **attempt})
            for attempt in (
                {"user": "anna", "password": "not her password"},
                {"user": "anna", "password": "x" * 512},
                {"user": "nobody"},
                {"user": "@anna:elsewhere"},
                {"user": "@:"},
            )
        ]
        self.assertEqual({code for code, _ in answers}, {403})
        self.assertEqual(len({str(answer) for _, answer in answers}), 1)

    async def test_an_unknown_name_costs_a_hash_too(self) -> None:
        server = await self.server()
        hashed: list[str] = []
        passwords = server.app.people.passwords
        fits: Callable[..., bool] = passwords._hasher.fits
        self.patch(passwords._hasher, "fits", lambda *args: hashed.append(args[0]) or fits(*args))
        await server.call("POST", "/login", {**PASSWORD_LOGIN, "user": "nobody"})
        self.assertEqual(len(hashed), 1)
        self.assertIn("$argon2id$", hashed[0])

    async def test_what_is_no_login_is_refused(self) -> None:
        server = await self.server()
        await server.person("anna")
        for body, code in (
            ({**PASSWORD_LOGIN, "user": "anna", "type": "m.login.token"}, 400),
            ({**PASSWORD_LOGIN}, 400),
            ({"type": "m.login.password", "user": "anna"}, 400),
            ({**PASSWORD_LOGIN, "identifier": {"type": "m.id.thirdparty"}}, 403),
            ({**PASSWORD_LOGIN, "identifier": {"type": "m.id.what"}}, 400),
            ({**PASSWORD_LOGIN, "user": "anna", "device_id": "a\0b"}, 400),
            ({**PASSWORD_LOGIN, "user": "anna", "device_id": "ü" * 300}, 400),
        ):
            self.assertEqual((await server.call("POST", "/login", body))[0], code, body)

    async def test_a_second_login_on_a_device_ends_the_first_and_keeps_its_name(self) -> None:
        server = await self.server()
        anna = await server.person("anna")
        first = await server.log_in(
            anna, device_id="PAD", initial_device_display_name="Kitchen", refresh_token=True
        )
        second = await server.log_in(anna, device_id="PAD", initial_device_display_name="Hall")
        self.assertEqual(await whoami(server, dict(first.login)), (401, None))
        self.assertEqual((await refresh(server, dict(first.login)))[0], 401)
        device = await second.ask("GET", "/devices/PAD")
        self.assertEqual(device["display_name"], "Kitchen")
        self.assertEqual((await anna.call("GET", "/account/whoami"))[0], 200)

    async def test_logging_out_ends_the_session_at_once_and_for_ever(self) -> None:
        server = await self.server()
        anna = await server.person("anna")
        pad, phone = await server.log_in(anna), await server.log_in(anna)
        await pad.ask("GET", "/account/whoami")
        await pad.ask("POST", "/logout")
        self.assertEqual(await whoami(server, dict(pad.login)), (401, None))
        await phone.ask("POST", "/logout/all")
        await server.restart()
        for person in (anna, pad, phone):
            self.assertEqual(await whoami(server, dict(person.login)), (401, None))
        back = await server.log_in(anna)
        self.assertEqual(len((await back.ask("GET", "/devices"))["devices"]), 1)

    async def test_a_locked_account_waits_and_can_log_out(self) -> None:
        server = await self.server()
        anna = await server.person("anna")
        await anna.ask("GET", "/account/whoami")
        accounts = server.app.people.accounts
        await accounts.set_locked(anna.id, True)
        code, answer = await anna.call("GET", "/account/whoami")
        self.assertEqual((code, answer["errcode"]), (401, "M_USER_LOCKED"))
        self.assertTrue(answer["soft_logout"])
        code, answer = await server.call("POST", "/login", {**PASSWORD_LOGIN, "user": "anna"})
        self.assertEqual((code, answer["errcode"]), (401, "M_USER_LOCKED"))
        phone_id = anna.device_id
        await anna.ask("POST", "/logout")
        await accounts.set_locked(anna.id, False)
        back = await server.log_in(anna)
        devices = (await back.ask("GET", "/devices"))["devices"]
        self.assertNotIn(phone_id, [device["device_id"] for device in devices])


class WaitingTest(WireTest):
    """Whoever waits in /sync while their session ends gets nothing of what comes then."""

    async def waits(self, person: Person, path: str = "/sync", **query: Any) -> Deferred[Any]:
        """A request that has begun to wait; what it is answered."""
        since = (await person.sync())["next_batch"]
        waiters, began = person.server.app.syncing.waiters, Deferred[None]()
        add: Callable[..., None] = waiters.add

        def notice(*args: Any) -> None:
            add(*args)
            began.callback(None)

        undo = self.patch(waiters, "add", notice)
        query = {"since": since, "from": since, "timeout": 60_000, **query}
        answer = Deferred.fromCoroutine(person.call("GET", path, query=query))
        await began
        undo.restore()
        return answer

    async def test_a_logout_ends_the_wait(self) -> None:
        server = await self.server()
        anna = await server.person("anna")
        for path in ("/sync", "/events"):
            phone, pad = await server.log_in(anna), await server.log_in(anna)
            for device in (phone, pad):
                await device.ask("GET", "/account/whoami")
            on_phone, on_pad = await self.waits(phone, path), await self.waits(pad, path)
            await phone.ask("POST", "/logout")
            code, answer = await on_phone
            self.assertEqual((code, answer["errcode"]), (401, "M_UNKNOWN_TOKEN"))
            self.assertNotIn("soft_logout", answer)
            # Another device of hers hears at most that nothing has happened.
            self.assertEqual((await on_pad)[0], 200)

    async def test_a_lock_ends_the_wait(self) -> None:
        server = await self.server()
        anna = await server.person("anna")
        answer = await self.waits(anna)
        await server.app.people.accounts.set_locked(anna.id, True)
        code, refusal = await answer
        self.assertEqual((code, refusal["errcode"]), (401, "M_USER_LOCKED"))

    async def test_what_comes_after_the_token_has_expired_is_not_told(self) -> None:
        later = Later()
        self.patch(homeserver.assembly.people, "system_clock", later)
        server = await self.server()
        anna = await server.person("anna", refresh_token=True)
        ben = await server.person("ben")
        room = await ben.create_room(preset="public_chat")
        await anna.join(room)
        answer = await self.waits(anna)
        later.ahead = ACCESS_TOKEN_MS + 1
        await ben.say(room, "for who is still there")
        code, refusal = await answer
        self.assertEqual((code, refusal["soft_logout"]), (401, True))
        # Nothing is lost: with the next token it is there.
        _, tokens = await refresh(server, dict(anna.login))
        anna.token = tokens["access_token"]
        self.assertIn("for who is still there", str(await anna.sync()))


class RefreshTest(WireTest):
    async def begin(self) -> tuple[Server, Later, dict[str, Any]]:
        """Rita logs in with a client that can refresh."""
        later = Later()
        self.patch(homeserver.assembly.people, "system_clock", later)
        server = await self.server()
        rita = await server.person("rita", refresh_token=True)
        return server, later, dict(rita.login)

    async def test_an_expired_token_is_refreshed_also_after_a_restart(self) -> None:
        server, later, old = await self.begin()
        self.assertEqual(old["expires_in_ms"], ACCESS_TOKEN_MS)
        self.assertEqual(await whoami(server, old), (200, None))
        later.ahead = ACCESS_TOKEN_MS + 1
        self.assertEqual(await whoami(server, old), (401, True))
        await server.restart()
        self.assertEqual(await whoami(server, old), (401, True))
        code, new = await refresh(server, old)
        self.assertEqual(code, 200)
        self.assertEqual(await whoami(server, new), (200, None))

    async def test_a_lost_answer_does_no_harm(self) -> None:
        server, _, old = await self.begin()
        _, lost = await refresh(server, old)
        code, new = await refresh(server, old)
        self.assertEqual(code, 200)
        self.assertNotEqual(lost["refresh_token"], new["refresh_token"])
        self.assertEqual(await whoami(server, old), (200, None))
        self.assertEqual(await whoami(server, new), (200, None))
        self.assertEqual(await whoami(server, old), (401, None))

    async def test_using_the_new_refresh_token_ends_the_old_ones_too(self) -> None:
        server, _, old = await self.begin()
        _, new = await refresh(server, old)
        _, newer = await refresh(server, new)
        self.assertEqual(await whoami(server, old), (401, None))
        self.assertEqual((await refresh(server, old))[0], 401)
        self.assertEqual(await whoami(server, newer), (401, True))

    async def test_a_refresh_token_that_comes_back_ends_the_session_but_not_the_device(
        self,
    ) -> None:
        server, _, stolen = await self.begin()
        _, new = await refresh(server, stolen)
        self.assertEqual(await whoami(server, new), (200, None))
        _, unused = await refresh(server, new)
        code, answer = await refresh(server, stolen)
        self.assertEqual((code, answer["errcode"]), (401, "M_UNKNOWN_TOKEN"))
        self.assertTrue(answer["soft_logout"])
        # Whoever the tokens belong to must log in again, and may keep the keys of the device.
        self.assertEqual(await whoami(server, new), (401, True))
        self.assertEqual(await whoami(server, unused), (401, True))
        for tokens in (unused, new, stolen, new):
            code, answer = await refresh(server, tokens)
            self.assertEqual((code, answer["soft_logout"]), (401, True))
        await server.restart()
        self.assertEqual(await whoami(server, new), (401, True))
        rita = Person(server, stolen, None)
        back = await server.log_in(rita, device_id=rita.device_id, refresh_token=True)
        self.assertEqual(len((await back.ask("GET", "/devices"))["devices"]), 1)
        _, newest = await refresh(server, dict(back.login))
        self.assertEqual(await whoami(server, newest), (200, None))
        self.assertEqual(await whoami(server, new), (401, None))

    async def test_a_thief_who_caught_a_lost_answer_is_noticed_too(self) -> None:
        server, _, old = await self.begin()
        _, caught = await refresh(server, old)
        _, new = await refresh(server, old)
        self.assertEqual(await whoami(server, new), (200, None))
        _, thiefs = await refresh(server, caught)
        self.assertEqual(await whoami(server, thiefs), (200, None))
        code, answer = await refresh(server, new)
        self.assertEqual((code, answer["soft_logout"]), (401, True))
        self.assertEqual(await whoami(server, thiefs), (401, True))
        self.assertEqual((await refresh(server, thiefs))[0], 401)

    async def test_spent_tokens_do_not_pile_up(self) -> None:
        server, _, tokens = await self.begin()
        for _ in range(SPENT_KEPT + 5):
            _, tokens = await refresh(server, tokens)
        kept = await server.app.storage.store.read(
            lambda txn: (
                txn.value("SELECT COUNT(*) FROM refresh_tokens"),
                txn.value("SELECT COUNT(*) FROM access_tokens"),
            )
        )
        self.assertEqual(kept, (SPENT_KEPT + 2, 2))

    async def test_a_client_that_cannot_refresh_gets_a_token_that_does_not_expire(self) -> None:
        server, later, _ = await self.begin()
        sam = await server.person("sam")
        self.assertNotIn("expires_in_ms", sam.login)
        later.ahead = 1000 * ACCESS_TOKEN_MS
        self.assertEqual((await sam.call("GET", "/account/whoami"))[0], 200)


class RememberingTest(WireTest):
    def queries(self, server: Server) -> float:
        """How many queries /account/whoami has made."""
        labels = {"operation": "GET v3/account/whoami", "kind": "read"}
        registry = server.app.metrics.registry
        return registry.get_sample_value("hearth_database_queries_total", labels) or 0

    async def test_known_and_dead_tokens_cost_no_query(self) -> None:
        server = await self.server()
        anna = await server.person("anna")
        dead = {"access_token": "hs_" + "x" * 43}
        await anna.ask("GET", "/account/whoami")
        await whoami(server, dead)
        before = self.queries(server)
        for _ in range(3):
            await anna.ask("GET", "/account/whoami")
            self.assertEqual((await whoami(server, dead))[0], 401)
            self.assertEqual((await whoami(server, {"access_token": "not ours"}))[0], 401)
        self.assertEqual((before, self.queries(server)), (2, 2))

    async def test_a_logout_while_the_token_is_being_looked_up_is_not_forgotten(self) -> None:
        server = await self.server()
        anna = await server.person("anna")
        people, store = server.app.people, server.app.storage.store
        read, was_read, go_on = store.read, Deferred[None](), Deferred[None]()

        async def slow(work: Any) -> Any:
            value = await read(work)
            was_read.callback(None)
            await go_on
            return value

        undo = self.patch(store, "read", slow)
        lookup = Deferred.fromCoroutine(people.sessions.requester(anna.token, "here"))
        await was_read
        undo.restore()
        await people.devices.delete(anna.id, [anna.device_id])
        go_on.callback(None)
        await lookup
        self.assertEqual((await anna.call("GET", "/account/whoami"))[0], 401)

    async def test_when_a_device_was_seen_is_written_down_in_batches(self) -> None:
        later = Later()
        self.patch(homeserver.assembly.people, "system_clock", later)
        server = await self.server()
        anna = await server.person("anna")
        store, last_seen = server.app.storage.store, server.app.people.last_seen

        async def stored() -> list[Any]:
            return await store.read(
                lambda txn: txn.all("SELECT last_seen_at, last_seen_address FROM devices")
            )

        ((at_login, address),) = await stored()
        self.assertEqual(address, "127.0.0.1")
        later.ahead = 3_600_000
        devices = (await anna.ask("GET", "/devices"))["devices"]
        self.assertGreaterEqual(devices[0]["last_seen_ts"], at_login + 3_600_000)
        self.assertEqual(await stored(), [(at_login, "127.0.0.1")])
        for number in range(2 * PORTION):
            last_seen.note(anna.id, f"GONE{number}", "elsewhere")
        await last_seen.flush()
        self.assertEqual(len(last_seen), 0)
        ((seen_at, _),) = await stored()
        self.assertEqual(seen_at, devices[0]["last_seen_ts"])


class BoundsTest(TestCase):
    """The cache alone."""

    def test_memory_is_bounded(self) -> None:
        numbers = count()

        class Rows:
            async def read(self, work: Any) -> AccessToken:
                number = next(numbers)
                return AccessToken(
                    f"@u{number % 7}:x", f"D{number}", 1, None, 1, False, False, False
                )

        class Nothing:
            def note(self, *args: str) -> None:
                pass

        sessions = Sessions(Rows(), lambda: 0, str, None, Nothing())  # type: ignore[arg-type]
        for number in range(MAX_CACHED + 50):
            with self.assertRaises(StopIteration):
                sessions.requester(f"hs_{number}", "here").send(None)
        self.assertEqual(len(sessions), MAX_CACHED)

    def test_a_token_without_our_mark_is_refused_unseen(self) -> None:
        sessions = Sessions(None, lambda: 0, str, None, None)  # type: ignore[arg-type]
        with self.assertRaises(UnknownToken):
            sessions.requester("syt_foreign", "here").send(None)

    async def test_a_password_hash_that_is_none_matches_nothing(self) -> None:
        passwords = Passwords(reactor, time_cost=1, memory_kib=64)
        for stored in (None, passwords._nobody, "no hash at all", "$argon2id$v=19$broken"):
            self.assertFalse(await passwords.matches(stored, ""))
        await passwords.stop()

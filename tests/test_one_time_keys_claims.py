"""Design promise 4 over the wire: a one-time key is handed out at most once, ever."""

from typing import Any

from twisted.internet import reactor as default_reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater

from tests.olm_devices import Device
from tests.processes import ServerProcess
from tests.support import Person, WireTest

ALGORITHM = "signed_curve25519"


async def upload(person: Person, count: int, fallback: bool = False) -> set[str]:
    """The person's device uploads keys; the one-time keys of it."""
    device = Device(None, person)  # type: ignore[arg-type]
    keys = device.one_time_keys(count)
    body = {"device_keys": device.device_keys(), "one_time_keys": keys}
    if fallback:
        body["fallback_keys"] = device.fallback_key()
    answer = await person.ask("POST", "/keys/upload", body)
    assert answer["one_time_key_counts"][ALGORITHM] == count
    return {key["key"] for key in keys.values()}


async def claim(person: Person, owner: Person) -> str | None:
    """Claim a key of somebody's device: what came."""
    wanted = {owner.id: {owner.device_id: ALGORITHM}}
    answer = await person.ask("POST", "/keys/claim", {"one_time_keys": wanted})
    keys = answer["one_time_keys"].get(owner.id, {}).get(owner.device_id, {})
    return next((str(key["key"]) for key in keys.values()), None)


class ClaimTest(WireTest):
    """Fifty claim at once what there are twenty of."""

    async def test_twenty_keys_for_fifty_claims(self) -> None:
        hearth = await self.server()
        alice, bob, carol = await hearth.people("alice", "bob", "carol")
        keys = await upload(alice, 20)
        came = await _at_once([claim((bob, carol)[n % 2], alice) for n in range(50)])
        given = [key for key in came if key is not None]
        self.assertEqual(len(given), 20)
        self.assertEqual(set(given), keys)
        counts = (await alice.sync())["device_one_time_keys_count"]
        self.assertEqual(counts.get(ALGORITHM, 0), 0)
        await hearth.restart()
        self.assertIsNone(await claim(bob, alice))

    async def test_the_fallback_key_is_for_the_other_thirty(self) -> None:
        hearth = await self.server()
        alice, bob = await hearth.people("alice", "bob")
        keys = await upload(alice, 20, fallback=True)
        came = await _at_once([claim(bob, alice) for _ in range(50)])
        given = [key for key in came if key in keys]
        self.assertEqual((len(given), len(set(given))), (20, 20))
        self.assertEqual(len({key for key in came if key not in keys}), 1)
        self.assertEqual(len(came), 50)

    async def test_what_was_handed_out_before_a_crash_is_not_handed_out_after_it(self) -> None:
        hearth = await ServerProcess(self, {}).start()
        self.addCleanup(hearth.kill)
        alice, bob, carol = await hearth.people("alice", "bob", "carol")
        keys = await upload(alice, 50)
        given: list[str] = []

        async def claim_on(person: Person) -> None:
            while len(given) < 40:
                try:
                    key = await claim(person, alice)
                except Exception as error:
                    if isinstance(error, AssertionError):
                        raise
                    return  # the server is gone; whether the key is, nobody knows
                assert key is not None
                given.append(key)

        claiming = Deferred.fromCoroutine(
            _at_once([claim_on(person) for person in (bob, bob, carol, carol)])
        )
        while len(given) < 10 and not claiming.called:
            await deferLater(default_reactor, 0.002)
        await hearth.kill()
        await claiming
        await hearth.start()
        while (key := await claim(bob, alice)) is not None:
            given.append(key)
        self.assertEqual(len(given), len(set(given)))
        self.assertLessEqual(set(given), keys)
        self.assertGreaterEqual(len(given), len(keys) - 4)


async def _at_once(requests: list[Any]) -> list[Any]:
    return list(await gatherResults([Deferred.fromCoroutine(each) for each in requests]))

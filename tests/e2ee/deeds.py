"""Everything that people do to their devices, keys, messages and rooms, told to the model as well.

A method without an underscore is a deed that ``test_model`` draws by its name.
"""

from twisted.internet import reactor as default_reactor
from twisted.internet.defer import Deferred

from tests.e2ee.model import Claimed, KnownDevice, check
from tests.e2ee.neighbourhood import Attempt, Neighbourhood
from tests.e2ee.wire import ALGORITHM
from tests.olm_devices import Device, Json

NAMES = ("alice", "bob", "carol", "dave")
DEVICES = ("PHONE", "LAPTOP", "TABLET")
ROOMS = 3
PATIENCE = 30
"""Seconds after which a sync that should have been woken has not been."""


class Deeds(Neighbourhood):
    """A neighbourhood where something happens."""

    async def move_in(self) -> None:
        """Everybody signs up, and there are some rooms."""
        for name in NAMES:
            person = await self.server.person(name, device_id=DEVICES[0])
            self.world.devices[person.id] = []
            await self._begin(KnownDevice(Device(None, person), DEVICES[0]))  # type: ignore[arg-type]
        for _ in range(ROOMS):
            owner = self.world.everywhere[0].device
            room = await owner.person.create_room(preset="public_chat")
            self.world.rooms[room] = {owner.user_id}
        for _ in range(2 * ROOMS):
            await self.join()

    # What may happen at the same time as other things.

    async def send(self) -> None:
        """A message for some devices of some people."""
        people = self.dice.sample([*self.world.devices], self.dice.randint(1, len(NAMES)))
        await self._send([(who, self.dice.random() < 0.4) for who in people])

    async def repeat(self) -> None:
        """A request to send that has been made before, twice more."""
        there = [each for each in self.sent if each.sender in self.world.everywhere]
        if there:
            attempt = self.dice.choice(there[-20:])
            self.told.append(f"{attempt.sender.address} repeats {attempt.path}")
            await self._at_once(self._attempt(attempt), self._attempt(attempt))

    async def claim(self) -> None:
        """One key of each of some devices."""
        everywhere = self.world.everywhere
        targets = self.dice.sample(everywhere, self.dice.randint(1, min(4, len(everywhere))))
        wanted: Json = {"@nobody:localhost": {"X": ALGORITHM}}
        for target in targets:
            wanted.setdefault(target.user_id, {"TOASTER": ALGORITHM})[target.name] = ALGORITHM
        began = self.world.now()
        body, claimer = {"one_time_keys": wanted}, self._known().device
        try:
            answer = await claimer.person.ask("POST", "/keys/claim", body)
        except Exception as error:
            self._forgive(error)
            for target in targets:
                target.lost_claims += 1
            return
        claimed = answer["one_time_keys"]
        for target in targets:
            found = claimed.get(target.user_id, {}).pop(target.name, {})
            for name, key in found.items():
                was = target.published.get(name, key)
                check(key == was, f"{target.address}: {key} was uploaded as {was}")
            key = next((key["key"] for key in found.values()), None)
            target.claims.append(Claimed(key, began))
            self.told.append(f"{claimer.user_id} claims of {target.address}: {key}")
        check(not any(claimed.values()), f"more was claimed than asked for: {claimed}")

    async def upload(self) -> None:
        """Some new one-time keys."""
        known, number = self._known(), self.dice.randint(1, 5)
        if not known.is_uploading and len(known.keys) + number <= self.most_keys:
            await self._upload(known, number)

    async def rename(self) -> None:
        """A device gets another name: a small change that everybody must be told of."""
        known, name = self._known(), f"name {next(self.numbers)}"
        if known.user_id in self.renaming:
            return

        def succeeded() -> None:
            self.renaming.discard(known.user_id)
            known.display_name = name
            self.world.changed(known.user_id)

        self.renaming.add(known.user_id)
        self.world.changes(known.user_id)
        self.told.append(f"{known.address} is now called {name}")
        path = f"/devices/{known.name}"
        await self._attempt(Attempt(known, "PUT", path, {"display_name": name}, succeeded))

    async def sync(self) -> None:
        """A device gets what is new."""
        idle = self._idle()
        if idle is not None:
            await self._sync(idle)

    async def lose(self) -> None:
        """A device asks what is new, and does not get the answer."""
        idle = self._idle()
        if idle is not None:
            await self._sync(idle, is_lost=True)

    async def sync_twice(self) -> None:
        """A device that has lost patience asks again while the server still thinks."""
        idle = self._idle()
        if idle is not None:
            await self._sync(idle, times=2)

    # What happens only while nothing else does.

    async def log_in(self) -> None:
        """Somebody on a device more."""
        devices = self.world.devices[self._known().user_id]
        names = {*DEVICES} - {known.name for known in devices}
        if names:
            name = self.dice.choice(sorted(names))
            self.world.changes(devices[0].user_id)
            person = await self.server.log_in(devices[0].device.person, device_id=name)
            await self._begin(KnownDevice(Device(None, person), name))  # type: ignore[arg-type]

    async def log_out(self) -> None:
        """Somebody on a device less."""
        known = self._known()
        if len(self.world.devices[known.user_id]) > 1:
            self.told.append(f"{known.address} logs out")
            self.world.changes(known.user_id)
            await known.device.ok("POST", "/logout")
            self.world.devices[known.user_id].remove(known)
            self.world.changed(known.user_id)

    async def log_in_again(self) -> None:
        """A device that has lost its token, but not its keys."""
        known = self._known()
        self.told.append(f"{known.address} logs in again")
        for each in self.world.sees(known.user_id):
            each.may[known.user_id] = self.world.now()
        before = known.device.person
        known.device.person = await self.server.log_in(before, device_id=known.name)
        code, _ = await before.call("GET", "/account/whoami")
        check(code == 401, f"{known.address}: the old token still works")
        known.begin_anew()

    async def lose_keys(self) -> None:
        """A device that has lost its keys, but not its token."""
        known = self._known()
        self.world.changes(known.user_id)
        known.device = known.device.reinstalled()
        known.new_identity()
        await self._introduce(known)

    async def join(self) -> None:
        """Somebody comes into a room."""
        user_id, room = self.dice.choice([*self.world.devices]), self._room()
        if user_id not in self.world.rooms[room]:
            self.told.append(f"{user_id} joins {room}")
            await self.world.devices[user_id][0].device.person.join(room)
            self.world.joined(user_id, room)

    async def leave(self) -> None:
        """Somebody leaves a room."""
        known, room = self._known(), self._room()
        if known.user_id in self.world.rooms[room]:
            self.told.append(f"{known.user_id} leaves {room}")
            await known.device.ok("POST", f"/rooms/{room}/leave")
            self.world.parted(known.user_id, room)

    async def ban(self) -> None:
        """Somebody is banned for a moment, whether they were there or not."""
        user_id, room = self._known().user_id, self._room()
        if self._keeps(room, user_id):
            self.told.append(f"{user_id} is banned from {room}")
            for verb in ("ban", "unban"):
                await self._owner("POST", f"/rooms/{room}/{verb}", {"user_id": user_id})
            self.world.parted(user_id, room)

    async def invite(self) -> None:
        """Somebody is invited and may come one day."""
        user_id, room = self._known().user_id, self._room()
        if self._keeps(room, user_id) and user_id not in self.world.rooms[room]:
            self.told.append(f"{user_id} is invited to {room}")
            await self._owner("POST", f"/rooms/{room}/invite", {"user_id": user_id})
            self.world.awaits(user_id, room)

    async def decline(self) -> None:
        """Somebody who was invited does not come."""
        known, room = self._known(), self._room()
        if known.user_id in self.world.invited[room]:
            self.told.append(f"{known.user_id} declines {room}")
            await known.device.ok("POST", f"/rooms/{room}/leave")
            self.world.parted(known.user_id, room)

    async def flood(self) -> None:
        """More one-time keys than a device may have."""
        known = self._known()
        if not known.is_uploading:
            await self._upload(known, self.most_keys + 3 - len(known.keys))

    async def upload_again(self) -> None:
        """Keys that were uploaded before, perhaps handed out since."""
        known = self._known()
        names = self.dice.sample([*known.published], min(5, len(known.published)))
        body = {"one_time_keys": {name: known.published[name] for name in names}}
        self.told.append(f"{known.address} uploads {names} again")
        answer = await known.device.ok("POST", "/keys/upload", body)
        number = answer["one_time_key_counts"][ALGORITHM]
        check(number == len(known.keys), f"{known.address}: {number}, not {len(known.keys)}")

    async def upload_other(self) -> None:
        """Another key under an id that was used: refused, and nothing beside it is stored."""
        known = self._known()
        if known.published:
            name = self.dice.choice([*known.published])
            new = known.device.one_time_keys(2)
            new = {**new, name: next(iter(new.values()))}
            refusal = await known.device.person.call("POST", "/keys/upload", {"one_time_keys": new})
            check(refusal[0] == 400, f"{known.address}: {refusal}")

    async def upload_fallback(self) -> None:
        """A fallback key: another one, or the same again."""
        known = self._known()
        if known.fallback is None or self.dice.random() < 0.5:
            known.fallback_keys = known.device.fallback_key(f"F{next(self.numbers)}")
            known.fallback_is_unused = True
        ((_, key),) = known.fallback_keys.items()
        known.fallback = key["key"]
        self.told.append(f"{known.address} uploads fallback key {known.fallback}")
        await known.device.ok("POST", "/keys/upload", {"fallback_keys": known.fallback_keys})

    async def query(self) -> None:
        """Somebody asks for everybody's devices."""
        wanted: Json = {user_id: [] for user_id in self.world.devices}
        answer = await self._known().device.ok("POST", "/keys/query", {"device_keys": wanted})
        for user_id, devices in self.world.devices.items():
            found = answer["device_keys"][user_id]
            for known in devices:
                keys = found.pop(known.name)
                is_same = keys["keys"] == known.device.device_keys()["keys"]
                check(is_same, f"{known.address} has other keys than it has uploaded")
                name = keys["unsigned"].get("device_display_name")
                check(name == known.display_name, f"{known.address}: {name}")
            check(not found, f"{user_id} has devices that are gone: {[*found]}")

    async def wait(self) -> None:
        """A device that waits is woken by a message."""
        known = self._known()
        await self._sync(known)
        waiting = Deferred.fromCoroutine(self._sync(known, timeout=10 * PATIENCE))
        waiting.addTimeout(PATIENCE, default_reactor)
        await self._send([(known.user_id, True)])
        await waiting
        await self._sync(known)

    async def restart(self) -> None:
        """The server stops and starts again."""
        self.told.append("the server restarts")
        await self.server.restart()

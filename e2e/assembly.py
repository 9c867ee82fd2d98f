"""What encryption needs from a server, put together."""

from collections.abc import Callable

from attrs import frozen

from e2e.cross_signing import CrossSigning
from e2e.dehydrated import DehydratedDevices
from e2e.device_lists import Announcer, DeviceLists, Neighbours
from e2e.devices import Devices
from e2e.identity_log import IdentityLog
from e2e.key_backup import KeyBackups
from e2e.key_queries import KeyQueries
from e2e.one_time_keys import Counter, KeyCountsPart, OneTimeKeys
from e2e.to_device import Background, ToDevice, ToDevicePart
from storage.store import Store


@frozen
class Encryption:
    """What encryption needs from a server."""

    announcer: Announcer
    lists: DeviceLists
    counts: KeyCountsPart
    one_time_keys: OneTimeKeys
    queries: KeyQueries
    log: IdentityLog
    devices: Devices
    dehydrated: DehydratedDevices
    cross_signing: CrossSigning
    backups: KeyBackups
    to_device: ToDevice
    to_device_part: ToDevicePart


def assemble_encryption(
    store: Store,
    neighbours: Neighbours,
    conflicts: Counter,
    clock: Callable[[], int],
    background: Background,
) -> Encryption:
    """``neighbours`` tells who shares which rooms."""
    announcer = Announcer(neighbours)
    keys = OneTimeKeys(store, _everybody, conflicts)
    log = IdentityLog(store, clock)
    return Encryption(
        announcer=announcer,
        lists=DeviceLists(store, neighbours),
        counts=KeyCountsPart(store),
        one_time_keys=keys,
        queries=KeyQueries(store, _everybody),
        log=log,
        devices=Devices(store, announcer, keys, log),
        dehydrated=DehydratedDevices(store, announcer, keys, log, clock),
        cross_signing=CrossSigning(store, announcer, log),
        backups=KeyBackups(store),
        to_device=ToDevice(store, clock),
        to_device_part=ToDevicePart(store, background),
    )


def _everybody(asker: str, user_id: str) -> bool:
    """Neighbours may know of each other."""
    return True

"""Push rules, verdicts and counts, put together."""

from typing import Any

from attrs import frozen

from federation_disabled.egress import Egress
from federation_disabled.guard import Guard
from homeserver.assembly.database import Storage
from homeserver.background import Background
from homeserver.clock import system_clock
from homeserver.config import Config
from homeserver.ignored_people import IgnoredPeople
from homeserver.invite_permission import InvitePermission
from homeserver.push.actions import Actions
from homeserver.push.counts import PushCountsPart
from homeserver.push.delivery import PushDelivery
from homeserver.push.judge import Judge
from homeserver.push.notices import Notices
from homeserver.push.notifications import Notifications
from homeserver.push.personal_rules import PersonalRules, PushRulesPart
from homeserver.push.pushers import Pushers
from homeserver.push.sealing import load_seal
from homeserver.push.spans import Spans
from homeserver.push.variants import Variants
from homeserver.rooms.cache import RoomCache
from homeserver.rooms.memberships import Memberships


@frozen
class Push:
    """Push rules, and what they make of events."""

    spans: Spans
    judge: Judge
    rules: PersonalRules
    rules_part: PushRulesPart
    counts: PushCountsPart
    notifications: Notifications
    pushers: Pushers
    delivery: PushDelivery


def assemble_push(
    config: Config,
    reactor: Any,
    storage: Storage,
    cache: RoomCache,
    memberships: Memberships,
    ignored: IgnoredPeople,
    invites: InvitePermission,
    egress: Egress,
    background: Background,
) -> Push:
    store = storage.store
    variants = Variants()
    spans = Spans(store, variants)
    spans.load()
    seal = load_seal(config.data)
    pushers = Pushers(store, seal, system_clock, Guard(config.allow_private_addresses))
    counts = PushCountsPart(store, spans, ignored)
    actions = Actions(spans)
    return Push(
        spans=spans,
        judge=Judge(variants, spans),
        rules=PersonalRules(store, spans),
        rules_part=PushRulesPart(store),
        counts=counts,
        notifications=Notifications(store, cache, actions, ignored, system_clock),
        pushers=pushers,
        delivery=PushDelivery(
            reactor,
            store,
            seal,
            pushers,
            memberships,
            spans,
            Notices(cache, memberships, counts, actions, ignored, invites),
            egress,
            background,
            system_clock,
        ),
    )

"""Push rules, verdicts and counts, put together."""

from attrs import frozen

from homeserver.assembly.database import Storage
from homeserver.clock import system_clock
from homeserver.config import Config
from homeserver.push.counts import PushCountsPart
from homeserver.push.judge import Judge
from homeserver.push.notifications import Notifications
from homeserver.push.personal_rules import PersonalRules, PushRulesPart
from homeserver.push.pushers import Pushers
from homeserver.push.sealing import load_seal
from homeserver.push.spans import Spans
from homeserver.push.variants import Variants
from homeserver.rooms.cache import RoomCache


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


def assemble_push(config: Config, storage: Storage, cache: RoomCache) -> Push:
    store = storage.store
    variants = Variants()
    spans = Spans(store, variants)
    spans.load()
    return Push(
        spans=spans,
        judge=Judge(variants, spans),
        rules=PersonalRules(store, spans),
        rules_part=PushRulesPart(store),
        counts=PushCountsPart(store, spans),
        notifications=Notifications(store, cache, spans, system_clock),
        pushers=Pushers(store, load_seal(config.data)),
    )

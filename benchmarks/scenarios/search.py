"""search: people look for words, frequent and rare ones, in all that was ever written."""

from collections import Counter
from collections.abc import Sequence
from itertools import accumulate
from random import Random
from time import perf_counter
from typing import Any

from attrs import evolve, frozen

from benchmarks.client.crowds import together
from benchmarks.client.people import V3, Person, quote
from benchmarks.measure.figures import latencies
from benchmarks.scenario import Bench, Outcome, Scenario, option

VOCABULARY = 20_000
LENGTH = 16
SYLLABLES = [first + second for first in "bdfgklmnprstvz" for second in "aeiou"]
EXACT = 1_000
"""Up to so many hits a count has to be right; beyond, servers may estimate."""
TOLERANCE = 0.25
PAGE = 10
KINDS = {"frequent": 0, "usual": 100, "rare": 5000}
"""From which place on in the order of frequency words are taken."""


@frozen
class Options:
    events: int = option(10_000, "messages")
    rooms: int = option(10, "rooms, with the same members")
    members: int = option(16, "members, who write them in turn")
    times: int = option(40, "searches of each kind")


async def run(bench: Bench, options: Options) -> Outcome:
    # Rooms that can be searched: by default private ones are encrypted.
    bench.homeserver.customs = evolve(bench.customs, preset="public_chat")
    people = await bench.homeserver.people(options.members)
    rooms = [await bench.homeserver.room(people[0], people) for _ in range(options.rooms)]
    texts = _texts(options.events)
    began = perf_counter()
    await together(
        _write(person, rooms, texts[number :: len(people)]) for number, person in enumerate(people)
    )
    outcome = Outcome(metrics={"setup_s": perf_counter() - began})
    await bench.calm()
    expected = Counter(word for text in texts for word in set(text.split()))
    by_frequency = [word for word, _ in expected.most_common()]
    wrong = 0
    async with bench.window() as window:
        for kind, place in KINDS.items():
            latency = []
            for number in range(options.times):
                word = by_frequency[min(place + number % 10, len(by_frequency) - 1)]
                found, ms = await _search(people[number % len(people)], word)
                latency.append(ms)
                wrong += _is_wrong(found, expected[word])
            outcome.metrics |= latencies(kind, latency, (50, 99))
            outcome.distribute(f"a {kind} word", latency)
    outcome.metrics["wrong_answers"] = wrong
    outcome.metrics["cpu_ms_per_search"] = window.cpu_ms_per(len(KINDS) * options.times)
    outcome.env = window.env
    return outcome


def _texts(count: int) -> list[str]:
    """Texts as of a language: few words are frequent, most are rare. The same every time."""
    random = Random(count)
    words = [_word(number) for number in range(VOCABULARY)]
    weights = list(accumulate(1 / (number + 1) for number in range(VOCABULARY)))
    return [" ".join(random.choices(words, cum_weights=weights, k=LENGTH)) for _ in range(count)]


def _word(number: int) -> str:
    """All of one length, so that none is the beginning of another."""
    size = len(SYLLABLES)
    return "".join(SYLLABLES[number // size**place % size] for place in range(3))


async def _write(person: Person, rooms: Sequence[str], texts: Sequence[str]) -> None:
    for number, text in enumerate(texts):
        room = quote(rooms[number % len(rooms)])
        path = f"{V3}/rooms/{room}/send/m.room.message/{person.homeserver.transaction()}"
        await person.call("PUT", path, {"msgtype": "m.text", "body": text})


async def _search(person: Person, word: str) -> tuple[dict[str, Any], float]:
    """As Element does it; the category of the answer, and the milliseconds."""
    wish = {
        "search_term": word,
        "order_by": "recent",
        "filter": {"limit": PAGE},
        "event_context": {"before_limit": 1, "after_limit": 1, "include_profile": True},
    }
    body = {"search_categories": {"room_events": wish}}
    answer, response = await person.timed("POST", f"{V3}/search", body)
    return answer["search_categories"]["room_events"], response.ms


def _is_wrong(found: dict[str, Any], expected: int) -> bool:
    tolerance = 0 if expected <= EXACT else expected * TOLERANCE
    is_miscounted = abs(found["count"] - expected) > tolerance
    return is_miscounted or len(found["results"]) != min(expected, PAGE)


SCENARIO = Scenario("search", "words, frequent and rare ones, are looked for", Options, run)

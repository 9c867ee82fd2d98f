"""All scenarios by name, and the plans made of them: lines of TIMES SCENARIO [OPTION ...]."""

from benchmarks.scenario import Scenario
from benchmarks.scenarios import (
    ceiling,
    chatter,
    e2ee,
    fanout,
    growth,
    idle,
    initial_sync,
    join,
    limit,
    media,
    messages,
    register,
    search,
    send,
    send_one,
    size,
    start,
)
from benchmarks.scenarios.faults import scenario as faults

SCENARIOS: dict[str, Scenario] = {
    module.SCENARIO.name: module.SCENARIO
    for module in (
        register,
        send,
        send_one,
        fanout,
        chatter,
        faults,
        initial_sync,
        messages,
        search,
        idle,
        e2ee,
        join,
        media,
        start,
        size,
        growth,
        limit,
        ceiling,
    )
}


PLANS = {
    "full": """
1 limit
3 register
3 send
3 send-one
3 join
3 media
1 messages
1 search
3 fanout --members 100
2 fanout --members 500
2 chatter --rate 5
2 chatter
1 faults
1 e2ee
1 idle
1 initial-sync
1 start
1 size
""",
    # Smaller where Synapse would take minutes.
    "beside": """
1 limit
2 send --total 1000
2 send-one
2 fanout --members 100
1 fanout --members 500
1 chatter
1 chatter --rate 5
1 idle
1 initial-sync
1 messages
1 e2ee
1 join
1 register
1 media
1 search --events 2000
1 start
1 size
""",
    # Proves that every scenario works; the figures mean nothing.
    "smoke": """
1 register --users 5 --logins 3 --alone 0.5
1 send --senders 4 --rooms 2 --total 40
1 send-one --total 20
1 join --members 5
1 media --files 4
1 messages --events 120 --members 4 --cold
1 search --events 60 --members 3 --rooms 2 --times 2
1 fanout --members 5,10 --events 3 --interval 0.2
1 chatter --users 10 --rooms 4 --members 5 --rate 10 --seconds 2
1 faults --users 10 --rooms 4 --members 5 --rate 10 --seconds 2 --rounds 1 --fault silent,upload
1 e2ee --users 8 --otks 5 --rounds 1
1 idle --users 10 --family 5 --seconds 1 --timeout 1000 --events 20
1 initial-sync --rooms 4 --members 4 --events 30 --missed 120 --hot-rooms 2 --cold
1 start --times 1 --idle 1 --events 40
1 size --messages 40 --members 3
1 growth --people 3,6 --rooms 2,4 --messages 20,40 --repeat 5
1 limit --total 40 --one 20 --members 5 --events 3 --interval 0.2 --users 10 --seconds 1
""",
}

"""Application services: bridges to other networks, and bots (Application Service API).

    registration   what an organizer's file says, checked
    services       who they are, and whose a name is
    masquerade     a service's token becomes one of its users
    interest       which events concern a service
    transactions   what it gets next, put together from the stream and the tables
    pusher         hands transactions over, one at a time, for as long as it takes
    outside        HTTP to the services
    queries        names that only a service knows
    third_party    the networks behind the services

A service's queue is the stream itself: a row says how far the service has got. The transaction that
it has not acknowledged yet is stored as it was sent, so that it is repeated to the letter, also
after a restart. So a service may be down for as long as it likes; memory holds one transaction.
"""

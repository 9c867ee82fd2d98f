"""Application services: bridges to other networks, and bots (Application Service API).

registration   what an organizer's file says, checked
services       who they are, and whose a name is
masquerade     a service's token becomes one of its users
"""

"""Rooms and their types: creation, events, auth rules, membership, history."""

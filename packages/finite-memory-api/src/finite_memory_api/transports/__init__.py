"""Transports: what performs the effects of `finite_memory_api.exchange`.

`driving` has the two loops, one blocking and one not. What opens a connection is a client of
httpx2 (or of its predecessor httpx), or an official SDK's.
"""

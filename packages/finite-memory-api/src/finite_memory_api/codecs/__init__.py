"""Codecs: a context to a request's bytes, a reply's events to pieces of text. No I/O.

Each speaks one wire format and knows nothing of hosts, keys and connections. To add one, subclass
`Codec` and `Reader` and name it in `finite_memory_api.profiles`.
"""

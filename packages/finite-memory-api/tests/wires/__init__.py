"""Held against what others wrote: published specifications, and a mock of the providers.

The nox session ``wires`` installs what they need. Without it these tests skip.
"""

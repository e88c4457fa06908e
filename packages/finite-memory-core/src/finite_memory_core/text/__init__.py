"""Text as readers see it: graphemes, words and sentences of every script.

Positions are indices into a ``str``. Any ``str`` is accepted, lone surrogates and NUL included;
nothing here knows tokens, messages or models. Import from the modules: each holds one function that
bears its name, which this package would otherwise hide.
"""

"""The page: a conversation and its memory at work, live in a browser.

``finite-memory chat --ui`` shows one conversation and lets one talk in it; ``finite-memory serve
--ui`` shows those that the server bounds. It needs the extra: ``pip install
'finite-memory-api[server]'``.

::

    reading     a store that is only looked at
    rows        a transcript in columns: who spoke, how much, where it stands now
    journal     core's events, as turns and as the reason for each block
    replaying   a transcript through a memory of other settings, in a process of its own
    replays     those processes, one at a time
    views       one conversation as the page sees it: of a chat, of a store, or in numbers alone
    feed        server-sent events, with what a dropped connection has missed
    guarding    who may look, and what a browser may load
    threads     where the page reads, so that nobody else waits for it
    chatting    what ``chat --ui`` runs
    _app        the routes
    _serving    the conversations of a server
    _running    in uvicorn, on this machine alone
    static/     the page itself: HTML, CSS and ES modules, as they are served

Modules with an underscore need the extra; the others can be imported without it.
"""

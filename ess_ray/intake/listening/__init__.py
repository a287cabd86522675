"""Sockets of protocols that are no HTTP, in plain asyncio: what they bring goes the way that a push goes.

- `shapes`: what a protocol gives and is given; `table`: which protocols there are, and how to add one.
- `tcp`, `udp`, `tls`: the sockets. `sink`: to the log, however long that is away.
- `listening`: which protocols are on just now, and what is told of them.
- `syslog`, `gelf`: a file for each protocol.
"""

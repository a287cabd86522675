"""Which protocols the listener speaks: one line each.

A protocol is one file beside this one, a line in PROTOCOLS, and its section in `settings.listeners` (its usual port,
and whether it is on). The file gives a `Make`: a function of its settings (`ListenAt`) and surroundings
(`Surroundings`: the way to the log, limits, clocks, metrics) to a `Server`, whose `start` opens the socket, whose
`stop` makes durable and answers what was read before it closes, and whose `meter` counts. Two servers are there to be
used:

- `TcpServer(at, around, talk)`: `talk(peer)` makes a `Conversation` for each connection, sans-IO: bytes in, `Turn`s
  out; the peer is an address and, by the settings or the certificate it showed, a tenant. A turn's `Piece`s are decoded
  (in a thread where they are large), made durable one after another, and only then answered by their `reply`; nothing
  more is read meanwhile. A piece may name its `tenant` (whose shared key opened the connection) and a `key` under which
  a repeat is the same (a chunk's name). `begin` is what the server says first; `replies = True` where clients wait for
  answers; `Turn.refused` closes the connection behind what came before.
- `UdpServer(at, around, datagrams)`: `take` makes a `Piece` of many datagrams, or keeps what is incomplete, bounded.

A protocol with a server of its own (gRPC) implements `Server` itself and calls `pieces.store_piece`, which returns once
the events are durable and raises Unavailable otherwise. Tenants, keys, taken ports, starting and ending are nobody's
matter but `listening.Listening`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ess_ray.intake.listening import gelf, own_servers, syslog
from ess_ray.intake.listening.shapes import Make

PROTOCOLS: Final[Mapping[str, Make]] = {
    "syslog_udp": syslog.udp,
    "syslog_tcp": syslog.tcp,
    "syslog_tls": syslog.tls,
    "gelf_udp": gelf.udp,
    "gelf_tcp": gelf.tcp,
    "forward": own_servers.forward,
    "otlp_grpc": own_servers.otlp_grpc,
}

"""How a cell knows who is there and what was said: membership, rumours and anti-entropy.

Gossip carries liveness *hints* and sealed *facts*; nothing here decides an activation.

Reading order:

* :mod:`~p2pdeploy.gossip.state`: the replica of a cell's state, a map of max-registers
* :mod:`~p2pdeploy.gossip.anti_entropy`: how two replicas become equal, over streams or HTTP
* :mod:`~p2pdeploy.gossip.config`: every interval and limit of the protocol
* :mod:`~p2pdeploy.gossip.members` and :mod:`~p2pdeploy.gossip.suspicion`: the membership table
* :mod:`~p2pdeploy.gossip.beliefs`: what is believed of whom, and refuting
* :mod:`~p2pdeploy.gossip.swim`: probing and suspecting (SWIM with Lifeguard)
* :mod:`~p2pdeploy.gossip.dissemination`: which rumours ride in the next datagram
* :mod:`~p2pdeploy.gossip.events` and :mod:`~p2pdeploy.gossip.effects`
* :mod:`~p2pdeploy.gossip.replication`: merging, offering and pulling what was said
* :mod:`~p2pdeploy.gossip.statistics`: what is counted
* :mod:`~p2pdeploy.gossip.inbox` and :mod:`~p2pdeploy.gossip.outbox`: messages in, datagrams out
* :mod:`~p2pdeploy.gossip.core`: the core that a shell drives
* :mod:`~p2pdeploy.gossip.sender_keys` and :mod:`~p2pdeploy.gossip.wire`: datagrams and frames,
  encrypted, each accepted once
* :mod:`~p2pdeploy.gossip.sockets`, :mod:`~p2pdeploy.gossip.datagrams`,
  :mod:`~p2pdeploy.gossip.streams`, :mod:`~p2pdeploy.gossip.stream_calls`,
  :mod:`~p2pdeploy.gossip.stream_server`, :mod:`~p2pdeploy.gossip.timers`,
  :mod:`~p2pdeploy.gossip.loop_lag` and :mod:`~p2pdeploy.gossip.refusals`: parts of the shell
* :mod:`~p2pdeploy.gossip.shell`: the sockets and timers of one host
"""

"""Where the control plane keeps what must survive it.

* :mod:`~p2ptracker.storage.interfaces`: the two interfaces, database and blob store
* :mod:`~p2ptracker.storage.release_tables`, :mod:`~p2ptracker.storage.cell_tables` and
  :mod:`~p2ptracker.storage.identity_tables`: the tables
* :mod:`~p2ptracker.storage.schema`: their versions
* :mod:`~p2ptracker.storage.database`: SQLite, one thread hop per transaction
* :mod:`~p2ptracker.storage.releases`: releases, blobs, chunks
* :mod:`~p2ptracker.storage.signed_releases`: their signed metadata, and what waits for signatures
* :mod:`~p2ptracker.storage.rollouts`: rollouts, plan numbers, orders
* :mod:`~p2ptracker.storage.order_number` and :mod:`~p2ptracker.storage.numbers`: the highest
  numbers of orders, also of those that are gone
* :mod:`~p2ptracker.storage.spreads`: how the releases of rollouts spread
* :mod:`~p2ptracker.storage.observations`: what hosts said last
* :mod:`~p2ptracker.storage.enrolment`: enrolments, revocations, alarms
* :mod:`~p2ptracker.storage.rings_to_rotate`: cells that must get another gossip key
* :mod:`~p2ptracker.storage.join_tokens`: who may join by a token
* :mod:`~p2ptracker.storage.company_joins`: who may join by a company's certificate
* :mod:`~p2ptracker.storage.group_commit`: several small pieces of work in one transaction
* :mod:`~p2ptracker.storage.audit`: the chained log of what people did
* :mod:`~p2ptracker.storage.blobs`: a local folder of content-addressed files

The functions of releases, rollouts, observations and audit take a connection and do their whole
work in the caller's transaction; nothing in them knows which engine is behind it.
"""

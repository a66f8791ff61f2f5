"""Payloads: from a directory tree to a release, and back to a tree on another host.

Reading order:

* what a payload is: :mod:`~p2pdeploy.payload.service_spec`,
  :mod:`~p2pdeploy.payload.service_rules`, :mod:`~p2pdeploy.payload.service_findings`,
  :mod:`~p2pdeploy.payload.service_toml`,
  :mod:`~p2pdeploy.payload.paths`
* from tree to manifest: :mod:`~p2pdeploy.payload.walk`, :mod:`~p2pdeploy.payload.layout`,
  :mod:`~p2pdeploy.payload.build`, :mod:`~p2pdeploy.payload.reading` with
  :mod:`~p2pdeploy.payload.cut` and :mod:`~p2pdeploy.merkle`, then
  :mod:`~p2pdeploy.payload.sources`
* what anyone may verify: :mod:`~p2pdeploy.payload.check`, :mod:`~p2pdeploy.payload.torrent`
* from manifest to tree: :mod:`~p2pdeploy.payload.stage` on :mod:`~p2pdeploy.payload.folders`
  and :mod:`~p2pdeploy.payload.verify`, on the disk by :mod:`~p2pdeploy.payload.write_behind`;
  the room for it:
  :mod:`~p2pdeploy.payload.footprint` and :mod:`~p2pdeploy.payload.allocate`
* what need not be fetched: :mod:`~p2pdeploy.payload.delta`, of
  :mod:`~p2pdeploy.payload.on_disk`, :mod:`~p2pdeploy.payload.chunk_runs`,
  :mod:`~p2pdeploy.payload.edges` with :mod:`~p2pdeploy.payload.outline`,
  :mod:`~p2pdeploy.payload.cover` and :mod:`~p2pdeploy.payload.copy_range`

Everything here blocks and reads or writes disk, except the pure ``paths``, ``cut``, ``layout``,
``check``, ``footprint``, ``torrent``, ``chunk_runs``, ``edges``, ``outline``, ``cover``,
``service_spec``, ``service_rules`` and ``service_findings``.
"""

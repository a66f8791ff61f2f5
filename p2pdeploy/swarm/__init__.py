"""The swarm: how a release's bytes reach every host.

Reading order:

* :mod:`~p2pdeploy.swarm.holdings`: which host has which piece (pure)
* :mod:`~p2pdeploy.swarm.deal_terms`, :mod:`~p2pdeploy.swarm.piece_queue` and
  :mod:`~p2pdeploy.swarm.in_flight`: what dealing is told, its order, and what is on its way;
  :mod:`~p2pdeploy.swarm.piece_book`: where each piece is (pure)
* :mod:`~p2pdeploy.swarm.heard_hosts`, :mod:`~p2pdeploy.swarm.deal_times` and
  :mod:`~p2pdeploy.swarm.turns`: who draws, how long that takes, and whose turn it is (pure)
* :mod:`~p2pdeploy.swarm.crossings`: what comes into each cell from the others, and
  :mod:`~p2pdeploy.swarm.next_pieces`: what a host is dealt when its turn comes (pure)
* :mod:`~p2pdeploy.swarm.deal`: which piece leaves the origin next, and to whom (pure)
* :mod:`~p2pdeploy.swarm.neighbours`: who connects to whom (pure)
* :mod:`~p2pdeploy.swarm.groups`, :mod:`~p2pdeploy.swarm.stripes` and
  :mod:`~p2pdeploy.swarm.trunks`: the one way of a piece into a rack and a cell, and
  :mod:`~p2pdeploy.swarm.overlay`: what of it concerns one host (pure)
* :mod:`~p2pdeploy.swarm.limit`: the time that the network itself needs, and
  :mod:`~p2pdeploy.swarm.stragglers`: who is behind, and why (pure)
* :mod:`~p2pdeploy.swarm.fetch_meter`: what a host measures of its fetch, by
  :mod:`~p2pdeploy.swarm.peer_traffic` and :mod:`~p2pdeploy.swarm.rate_meter` (pure)
* :mod:`~p2pdeploy.swarm.pressure`, :mod:`~p2pdeploy.swarm.yielding`,
  :mod:`~p2pdeploy.swarm.rates`, :mod:`~p2pdeploy.swarm.bucket` and :mod:`~p2pdeploy.swarm.pace`:
  how much a host may move each second (pure)
* :mod:`~p2pdeploy.swarm.settings`: every libtorrent setting that matters, with its reason
* :mod:`~p2pdeploy.swarm.identity`: the leaf that a host presents, and whose torrents it joins
* :mod:`~p2pdeploy.swarm.admission`: which addresses may connect
* :mod:`~p2pdeploy.swarm.peer_classes`: which limits hold for which peers
* :mod:`~p2pdeploy.swarm.session`: one libtorrent session under trio (shell), given
  :mod:`~p2pdeploy.swarm.torrent_params`, its tasks started by
  :mod:`~p2pdeploy.swarm.background`
* :mod:`~p2pdeploy.swarm.torrents`: the torrents in it, kept true by its alerts (shell)
* :mod:`~p2pdeploy.swarm.torrent`: one torrent in that session (shell), its
  :mod:`~p2pdeploy.swarm.progress` and its :mod:`~p2pdeploy.swarm.waits`
* :mod:`~p2pdeploy.swarm.faults`: what its disk errors mean (shell)
* :mod:`~p2pdeploy.swarm.dealer_client`: what a host needs of the dealer
* :mod:`~p2pdeploy.swarm.fetch_terms`: what a fetch is told
* :mod:`~p2pdeploy.swarm.trunk`: a release's second torrent, between groups (shell), which is given
  pieces by :mod:`~p2pdeploy.swarm.hand_over` (pure)
* :mod:`~p2pdeploy.swarm.fetch`: draw deals and let the mesh do the rest (shell), in the loops of
  :mod:`~p2pdeploy.swarm.draw_deals`, of which one is the :mod:`~p2pdeploy.swarm.scout`
* :mod:`~p2pdeploy.swarm.ask_dealer`: what they say to the dealer (shell), when by
  :mod:`~p2pdeploy.swarm.report_due` (pure)
* :mod:`~p2pdeploy.swarm.take_deals`: what becomes of a deal (shell); of pieces that are
  :mod:`~p2pdeploy.swarm.partly_here` only the gaps are drawn
* :mod:`~p2pdeploy.swarm.keep_links`: a fetch's links (shell), which pieces are missing by
  :mod:`~p2pdeploy.swarm.nearby`, which stripes are taken over by
  :mod:`~p2pdeploy.swarm.stripe_watch` (pure), over sets of pieces: :mod:`~p2pdeploy.swarm.bitsets`
"""

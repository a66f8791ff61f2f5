"""The BitTorrent tracker protocol, over HTTP in TLS with the certificates of hosts.

Our own daemons find their neighbours by gossip; this endpoint is for comparisons and for people
who want to look at a release, from a host of the fleet, with the client they know.  A *lab* serves
public clients, which have no certificates, over plain HTTP and on loopback only.

* :mod:`~p2ptracker.announce.callers`: who calls, and at which address its peers find it
* :mod:`~p2ptracker.announce.requests`: a query string judged and typed (pure)
* :mod:`~p2ptracker.announce.swarms`: who announced what, and whom to name to whom (pure)
* :mod:`~p2ptracker.announce.cells`: one such table for each cell (pure)
* :mod:`~p2ptracker.announce.rates`: how often a caller may come (pure)
* :mod:`~p2ptracker.announce.replies`: bencoded answers (pure)
* :mod:`~p2ptracker.announce.server`: a small HTTP/1.1 server around them
* :mod:`~p2ptracker.announce.lab`: where a lab may be opened

Spoken: BEP 3 (announce), 23 (compact peers), 7 (peers6), 31 (when to come back), 48 (scrape), see
https://www.bittorrent.org/beps/bep_0000.html.
"""

"""The BitTorrent tracker protocol for public clients, over HTTP.

Our own daemons find their neighbours by gossip; this endpoint is for comparisons and for people
who want to look at a release with the client they know.

* :mod:`~p2ptracker.announce.requests`: a query string judged and typed (pure)
* :mod:`~p2ptracker.announce.swarms`: who announced what, and whom to name to whom (pure)
* :mod:`~p2ptracker.announce.replies`: bencoded answers (pure)
* :mod:`~p2ptracker.announce.server`: a small HTTP/1.1 server around them

Spoken: BEP 3 (announce), 23 (compact peers), 7 (peers6), 48 (scrape), see
https://www.bittorrent.org/beps/bep_0000.html.
"""

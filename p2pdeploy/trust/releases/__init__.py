"""Signed releases: The Update Framework over bytes that may come from anybody.

Metadata is made and signed on the control plane and by publishers, and judged on every host.
Everything here is a function over bytes, keys and a time that is passed in.  Only these modules
load python-tuf; a daemon runs them in a short child process, because they cost memory.

* :mod:`~p2pdeploy.trust.releases.limits`: sizes, counts and lifetimes, each with its reason
* :mod:`~p2pdeploy.trust.releases.refusals`: the attacks, as codes of the errors that name them
* :mod:`~p2pdeploy.trust.releases.keys`: its roles and their keys
* :mod:`~p2pdeploy.trust.releases.release_target`: what is signed about one release
* :mod:`~p2pdeploy.trust.releases.library`: what is taken from python-tuf
* :mod:`~p2pdeploy.trust.releases.documents`: documents from and to bytes, thresholds
* :mod:`~p2pdeploy.trust.releases.proposals`: unsigned documents, and one key's signature on them
* :mod:`~p2pdeploy.trust.releases.review`: what a publisher checks before signing
* :mod:`~p2pdeploy.trust.releases.online`: snapshot and timestamp
* :mod:`~p2pdeploy.trust.releases.collecting`: joins the signatures of several owners
* :mod:`~p2pdeploy.trust.releases.acceptance`: when a proposal becomes a document
* :mod:`~p2pdeploy.trust.releases.repository`: accepts proposals that enough keys signed
* :mod:`~p2pdeploy.trust.releases.reading`: what documents say, for whoever keeps them
* :mod:`~p2pdeploy.trust.releases.rows`: a repository as named rows, for whoever keeps it
* :mod:`~p2pdeploy.trust.releases.files`: a signed document as a file, and back
* :mod:`~p2pdeploy.trust.releases.bundle`: what one host needs for one service
* :mod:`~p2pdeploy.trust.releases.seen`: what a host must remember
* :mod:`~p2pdeploy.trust.releases.chain`: python-tuf's judgement, with names for the attacks
* :mod:`~p2pdeploy.trust.releases.verify`: the judgement of a host

Source: the TUF specification 1.0 (https://theupdateframework.github.io/specification/latest/).
"""

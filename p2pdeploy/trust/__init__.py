"""Who may say what.

* :mod:`~p2pdeploy.trust.identity`: who a certificate speaks for
* :mod:`~p2pdeploy.trust.certificates`: the fleet's authorities and the leaves they issue;
  :mod:`~p2pdeploy.trust.operator_certificate`, :mod:`~p2pdeploy.trust.operator_roles`: what
  stands in a person's
* :mod:`~p2pdeploy.trust.tls`, :mod:`~p2pdeploy.trust.streams`: connections on which both sides
  know who the other is
* :mod:`~p2pdeploy.trust.signing`: Ed25519 keys and their ids
* :mod:`~p2pdeploy.trust.envelope`: sealed messages, verified as the bytes received
* :mod:`~p2pdeploy.trust.credential`: who may speak as a host
* :mod:`~p2pdeploy.trust.revocations`: who is believed no more
* :mod:`~p2pdeploy.trust.role_keys`: who signs in a role, and how many of them must
* :mod:`~p2pdeploy.trust.keyring`: the keys of a fleet, and the verifier over them
* :mod:`~p2pdeploy.trust.cell_keys`: the keys of a cell's gossip and their rotation
* :mod:`~p2pdeploy.trust.join_token`, :mod:`~p2pdeploy.trust.host_keys`: how a host gets in
* :mod:`~p2pdeploy.trust.host_identity`, :mod:`~p2pdeploy.trust.bundle`: what it has on disk then
* :mod:`~p2pdeploy.trust.releases`: which releases publishers signed, after The Update Framework
* :mod:`~p2pdeploy.trust.private_files`, :mod:`~p2pdeploy.trust.key_files`: secrets on disk
* :mod:`~p2pdeploy.trust.addresses`: which may be bound, and what stays on loopback
"""

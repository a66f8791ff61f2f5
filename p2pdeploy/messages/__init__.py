"""Everything that crosses a wire, one file per channel.

* :mod:`~p2pdeploy.messages.orders`: what the control plane tells a cell
* :mod:`~p2pdeploy.messages.attestation`: what a host says of itself
* :mod:`~p2pdeploy.messages.gossip`: what the members of a cell tell each other
* :mod:`~p2pdeploy.messages.deal`: how a host draws pieces from the origin
* :mod:`~p2pdeploy.messages.outline`: how it finds what of a changed chunk it has
* :mod:`~p2pdeploy.messages.swarm`: how it fares, and how a release spreads over all of them
* :mod:`~p2pdeploy.messages.sync`: a delegate and the control plane, one exchange
* :mod:`~p2pdeploy.messages.upload`: a publish, and its chunks on their way
* :mod:`~p2pdeploy.messages.host`: what one host's daemon is asked
* :mod:`~p2pdeploy.messages.enrolment`: how a host gets its identity;
  :mod:`~p2pdeploy.messages.enrolment_desk`: what people ask of that
* :mod:`~p2pdeploy.messages.api`: the HTTP API's documents, as people and scripts see them;
  :mod:`~p2pdeploy.messages.refusal`: its refusals, as our errors
* :mod:`~p2pdeploy.messages.signing`: how a release gets its publishers' signatures
* :mod:`~p2pdeploy.messages.operators`: certificates of people and jobs
* :mod:`~p2pdeploy.messages.access`: which route of it demands what
* :mod:`~p2pdeploy.messages.audit`: who did what, each entry chained to the one before
"""

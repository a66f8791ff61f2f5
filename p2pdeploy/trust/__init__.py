"""Who may say what.

* :mod:`~p2pdeploy.trust.envelope`: sealed messages, verified as the bytes received
* :mod:`~p2pdeploy.trust.secret`: the fleet secret of a folder, and keys derived from it
* :mod:`~p2pdeploy.trust.loopback`: the rule that nothing leaves 127.0.0.0/8 without trust
"""

"""The way of a release into the registry.

* :mod:`~p2ptracker.registry.publish`: begin and commit
* :mod:`~p2ptracker.registry.upload_server`: who may send chunks
* :mod:`~p2ptracker.registry.sealed_stream`: TLS that a thread decrypts, megabytes at a time
* :mod:`~p2ptracker.registry.reception`: the chunks of one connection
* :mod:`~p2ptracker.registry.uploads`: the releases on their way in
* :mod:`~p2ptracker.registry.upload_shares`: whose they are, and which give way
* :mod:`~p2ptracker.registry.spool`: one release's bytes on their way in, on disk
* :mod:`~p2ptracker.registry.commit`: verify every byte, then make the release visible
* :mod:`~p2ptracker.registry.assemble`: from a spool to verified blobs
* :mod:`~p2ptracker.registry.chunk_map`: where every chunk of a release lies
"""

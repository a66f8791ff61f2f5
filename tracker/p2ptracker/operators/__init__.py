"""People and jobs: who has a certificate with which roles, and who had.

* :mod:`~p2ptracker.operators.rules`: who may be given what, decided without a disk
* :mod:`~p2ptracker.operators.desk`: what the API asks; :mod:`~p2ptracker.operators.view`: what it
  shows
* :mod:`~p2ptracker.operators.made_here`: certificates that were made on this machine
"""

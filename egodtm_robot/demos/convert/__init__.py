"""Demonstrations of other toolkits, in and out.

- :mod:`.contract` says what a format is: something that reads data sets and writes them.
- :mod:`.importing` fills a store from a data set, :mod:`.exporting` makes a data set of a store.
- Every other module is one format (``lerobot``, ``robomimic``, ``minari``, ``replay_buffer``,
  ``r3m_paths``) or one part that formats share.

A format of your own is a subclass of :class:`~.contract.DemonstrationFormat`, named by its import
path in ``format._target_``.
"""

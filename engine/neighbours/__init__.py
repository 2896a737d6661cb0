"""Who is like whom: an index over customers' coordinates, exact or approximate, with ids, removal and measured recall.

=============  ======================================================================================================
``index``      :class:`NeighbourIndex`: build, search, add, remove, save, load
``kinds``      which kind of index suits how many rows and how much memory
``checks``     what an index may be given, and whether its files agree with each other
``exact``      every row is looked at (``flat``)
``inverted``   rows in lists by their nearest of many centroids; a few lists are looked at (``ivf``, ``ivf_pq``)
``graph``      rows linked to near ones; a search walks along (``hnsw``)
``recall``     how many of the true neighbours an approximate index finds, and how far it must look for that
``on_device``  whether a GPU helps to build
``folder``     folders put in place whole, with a manifest that says what belongs in them
=============  ======================================================================================================

FAISS is loaded when an index is built, read or searched, not before.
"""

from engine.neighbours.index import NeighbourIndex, Neighbours
from engine.neighbours.recall import Recall

__all__ = ["NeighbourIndex", "Neighbours", "Recall"]

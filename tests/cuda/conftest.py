"""These run on a GPU, or where numba simulates one (``NUMBA_ENABLE_CUDASIM=1 pytest tests/cuda``).

``tests/clustering/test_cuda_simulated.py`` runs them so in a process of its own.
"""

from __future__ import annotations

from numba import cuda

collect_ignore_glob = [] if cuda.is_available() else ["test_*.py"]

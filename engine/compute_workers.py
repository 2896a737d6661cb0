"""A Dask cluster of this machine's own, in processes that live exactly as long as whoever asked for them.

The cluster is the child of a child: what its workers need in their environment (one thread for every library) never
reaches this process, no worker imports the caller's script again, and a Ctrl-C at the terminal is the caller's alone.
Everything listens on the loopback interface only.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from shutil import rmtree

from engine.errors import SettingError

START_SECONDS = 60
"""Patience with a busy machine; two seconds are usual."""

STOP_SECONDS = 5

ONE_THREAD = dict.fromkeys(
    ("POLARS_MAX_THREADS", "NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"
)
"""The workers' environment: they share the cores among themselves."""

_HERE = "127.0.0.1"


class LocalProcesses:
    """Workers of one thread each, and their scheduler.

    Parameters
    ----------
    workers : int
        How many, 1 or more.

    Attributes
    ----------
    address : str
        Where the scheduler listens.

    Raises
    ------
    SettingError
        They did not start, with the end of what they had to say.
    """

    def __init__(self, workers: int) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="cartera-dask-", ignore_cleanup_errors=True)
        self._log = Path(self._folder.name) / "log.txt"
        # Workers must find the modules that the caller found, and nothing in the working directory besides.
        paths = [path or str(Path.cwd()) for path in sys.path]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "engine.compute_workers", str(workers), self._folder.name],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=log,
                env={**os.environ, **ONE_THREAD, "PYTHONPATH": os.pathsep.join(paths)},
                start_new_session=True,
            )
        self.address = ""

    def wait(self) -> str:
        """Wait until the scheduler listens and return its address."""
        deadline = time.monotonic() + START_SECONDS
        ready = Path(self._folder.name) / "address"
        while not ready.exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                told = self._log.read_text(errors="replace").strip().splitlines()
                raise SettingError(
                    f"compute=dask: the workers did not start within {START_SECONDS} s "
                    f"({told[-1] if told else 'they said nothing'}). Lower compute.workers, or use compute=local."
                )
            time.sleep(0.02)
        self.address = ready.read_text()
        return self.address

    def close(self) -> None:
        """End all processes and remove what they left on the disk."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            pass
        finally:
            # Workers of a leader that hangs or was killed outlive it.
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._folder.cleanup()


def main(workers: int, folder: str) -> None:
    """Run scheduler and workers until the other end of standard input closes, as it does when the caller dies."""
    from distributed import LocalCluster

    with LocalCluster(  # type: ignore[no-untyped-call]
        n_workers=workers,
        threads_per_worker=1,
        host=_HERE,
        dashboard_address=f"{_HERE}:0",
        worker_dashboard_address=f"{_HERE}:0",
        local_directory=folder,
    ) as cluster:
        written = Path(folder) / "address.part"
        written.write_text(cluster.scheduler_address)
        written.rename(Path(folder) / "address")
        sys.stdin.read()
    # A caller that was killed removes nothing.
    rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])

"""``cartera ingest``: files to lake, each file once."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.app import out_folder, verb

if TYPE_CHECKING:
    from omegaconf import DictConfig


def run(config: DictConfig) -> None:
    """Ingest what ``data`` names and print the accounts."""
    from experiments.output import output
    from experiments.progress import Progress
    from experiments.settings import IngestConfig, typed
    from experiments.transactions import input_paths, names_files, read_transactions

    settings = typed(config, IngestConfig)
    if not names_files(settings.data):
        from engine.errors import SettingError

        raise SettingError("data.path: a file, a folder or a glob is needed, for example data.path=sales.csv.")
    out = out_folder(settings.out)
    with output(out, "ingest", inputs=input_paths(settings.data, settings.lake)) as folder:
        read = read_transactions(settings.data, settings.lake, folder=folder, progress=Progress("ingest"))
    assert read.report is not None
    facts = read.report.to_dict()
    place = Path(settings.lake) if settings.lake else out / "lake"
    rejected = ", ".join(f"{reason} {rows:,}" for reason, rows in facts["rejected"].items()) or "none"
    print(f"rows       {facts['rows_read']:,} read, {facts['rows_kept']:,} kept; rejected: {rejected}")
    print(f"amount     {Decimal(facts['amount_kept']):,.2f} kept of {Decimal(facts['amount_read']):,.2f} read")
    print(f"customers  {facts['customers']:,}")
    print(f"files      {len(facts['files'])} added, {len(facts['skipped'])} known already")
    print(f"lake       {place}, version {read.lake.version}")
    print(f"out        {out}")


main = verb("ingest")(run)

if __name__ == "__main__":
    main()

"""``cartera features``: one row per customer at a date."""

from __future__ import annotations

from typing import TYPE_CHECKING

from experiments.app import out_folder, verb

if TYPE_CHECKING:
    from omegaconf import DictConfig


def run(config: DictConfig) -> None:
    """Compute the customer table, or print its data dictionary."""
    from engine.compute import open_compute
    from engine.features.store import ALWAYS, customer_table, dictionary
    from experiments.output import output
    from experiments.persons import names_persons
    from experiments.progress import Progress
    from experiments.settings import FeaturesVerbConfig, typed
    from experiments.transactions import input_paths, read_transactions

    settings = typed(config, FeaturesVerbConfig)
    names = list(dict.fromkeys([*ALWAYS, *settings.features.feature_set().columns]))
    if settings.describe:
        print(dictionary(names), end="")
        return
    out = out_folder(settings.out)
    progress = Progress("features")
    c = settings.compute
    with (
        open_compute(c.name, workers=c.workers, scheduler=c.scheduler) as compute,
        output(out, "features", inputs=input_paths(settings.data, settings.lake)) as folder,
    ):
        read = read_transactions(settings.data, settings.lake, folder=folder, progress=progress)
        with progress.step("features") as advance:
            table = customer_table(
                read.lake,
                columns=names,
                as_of=settings.as_of,
                window_days=settings.features.window_days,
                where=settings.where,
                cache=read.cache,
                compute=compute,
                progress=lambda done, buckets: advance(done / buckets),
            )
        table.frame.write_parquet(folder / "features.parquet")
        names_persons(folder, "features", "features.parquet")
        (folder / "dictionary.md").write_text(dictionary(names), encoding="utf-8")
    print(f"customers  {table.frame.height:,}")
    print(f"orders     {table.orders:,}")
    print(f"rows       {table.rows:,} sale rows")
    print(f"amount     {table.monetary_total:,.2f}")
    print(f"as_of      {table.as_of.date()}, window_days {table.window_days or 'all'}")
    print(f"features   {out / 'features.parquet'}")


main = verb("features")(run)

if __name__ == "__main__":
    main()

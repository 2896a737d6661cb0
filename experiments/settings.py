"""The types of every setting: a configuration is checked against them before anything runs."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, TypeVar

from omegaconf import MISSING, DictConfig, OmegaConf

from engine.errors import SettingError
from engine.features.matrix import FeatureSet, feature_set
from experiments.recommend_settings import (
    BasketsConfig,
    CrossSellConfig,
    EvaluateConfig,
    ModelConfig,
    NextProductsConfig,
    UpSellConfig,
)


@dataclass
class FeaturesConfig:
    """The group ``features``."""

    name: str = MISSING
    columns: list[str] = MISSING
    window_days: int | None = None
    transform: str = "log"
    scale: str = "standard"
    impute: str = "median"
    per_column: Any = None

    def feature_set(self) -> FeatureSet:
        """Return the columns and their treatment as the engine takes them."""
        exceptions = self.per_column or {}
        if not isinstance(exceptions, dict) or not all(isinstance(value, dict) for value in exceptions.values()):
            raise SettingError(
                "features.per_column: expected settings by column, such as {monetary: {weight: 2}}; "
                f"got {self.per_column!r}."
            )
        return feature_set(
            self.columns,
            transform=self.transform,
            scale=self.scale,
            impute=self.impute,
            per_column=exceptions,
        )


@dataclass
class ClusteringConfig:
    """The group ``clustering``."""

    backend: str = "native"
    k: Any = "auto"
    k_range: list[int] = field(default_factory=lambda: [2, 10])
    solver: str = "auto"
    threads: int | None = None
    max_passes: int | None = None
    max_seconds: float | None = None
    device: str = "auto"

    def ks(self) -> int | str | range:
        """Return ``k`` as the engine takes it, ``auto`` replaced by ``k_range``."""
        if self.k == "auto":
            if len(self.k_range) != 2 or self.k_range[0] > self.k_range[1]:
                raise SettingError(f"clustering.k_range: expected [lowest, highest]; got {list(self.k_range)}.")
            return range(self.k_range[0], self.k_range[1] + 1)
        if isinstance(self.k, list):
            raise SettingError(
                f"clustering.k: expected a number, a range such as 3..7, or auto; got the list {self.k}. "
                "For one run a value, write clustering.k=3,4,5 with -m."
            )
        return self.k  # type: ignore[no-any-return]


@dataclass
class SegmentsConfig:
    """The group ``segments``."""

    min: int = 3
    max: int = 8
    min_share: float = 0.01
    rules: str = "retail"


@dataclass
class TrackingConfig:
    """The group ``tracking``."""

    uri: str | None = None
    register: str | None = None


@dataclass
class EvidenceConfig:
    """The group ``evidence``."""

    silhouette_rows: int = 2_000
    gap_references: int = 0
    bootstrap_resamples: int = 0


@dataclass
class ComputeConfig:
    """The group ``compute``."""

    name: str = "local"
    workers: int | None = None
    scheduler: str | None = None


@dataclass
class GridConfig:
    """The group ``sweep``: the values of each axis, ``None`` for the one value of the key that it stands for.

    ``experiments.grid`` checks them, since a message of the library would name its own types.
    """

    features: Any = None
    transform: Any = None
    backend: Any = None
    k: Any = None
    seed: Any = None
    resume: bool = True
    parity: Any = False


@dataclass
class IngestConfig:
    """``conf/ingest.yaml``."""

    data: Any = MISSING
    lake: str | None = None
    out: str = MISSING


@dataclass
class FeaturesVerbConfig:
    """``conf/features.yaml``."""

    data: Any = MISSING
    features: FeaturesConfig = field(default_factory=FeaturesConfig)
    compute: ComputeConfig = field(default_factory=ComputeConfig)
    lake: str | None = None
    as_of: str | None = None
    where: str | None = None
    describe: bool = False
    out: str = MISSING


@dataclass
class SegmentConfig:
    """``conf/segment.yaml``."""

    data: Any = MISSING
    features: FeaturesConfig = field(default_factory=FeaturesConfig)
    clustering: ClusteringConfig = field(default_factory=ClusteringConfig)
    segments: SegmentsConfig = field(default_factory=SegmentsConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    evidence: EvidenceConfig = field(default_factory=EvidenceConfig)
    compute: ComputeConfig = field(default_factory=ComputeConfig)
    lake: str | None = None
    as_of: str | None = None
    where: str | None = None
    seed: int = 0
    language: str = "en"
    out: str = MISSING


@dataclass
class SweepConfig(SegmentConfig):
    """``conf/sweep.yaml``."""

    sweep: GridConfig = field(default_factory=GridConfig)


@dataclass
class ScoreConfig:
    """``conf/score.yaml``."""

    data: Any = MISSING
    bundle: str = MISSING
    customer: Any = None
    customers: str | None = None
    lake: str | None = None
    as_of: str | None = None
    where: str | None = None
    language: str = "en"
    index: bool = False
    out: str = MISSING


@dataclass
class CompareConfig:
    """``conf/compare.yaml``."""

    before: str = MISSING
    after: str = MISSING
    language: str = "en"
    out: str = MISSING


@dataclass
class LookalikeConfig:
    """``conf/lookalike.yaml``."""

    seeds: str = MISSING
    prospects: str = MISSING
    segment: str | None = None
    where: str | None = None
    customers: str | None = None
    exclude: str | None = None
    keep_customers: bool = False
    reference: str | None = None
    customer_id: str = "customer_id"
    columns: list[str] | None = None
    codes: list[str] = field(default_factory=list)
    k: int = 1000
    seed: int = 0
    language: str = "en"
    out: str = MISSING


@dataclass
class RecommendConfig:
    """``conf/recommend.yaml``."""

    data: Any = MISSING
    compute: ComputeConfig = field(default_factory=ComputeConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    action: str = "batch"
    lake: str | None = None
    as_of: str | None = None
    window_days: int | None = None
    level: str = "product_id"
    basket: str = "order"
    assignments: str | None = None
    bundle: str | None = None
    customers: str | None = None
    k: int = 10
    seed: int = 0
    language: str = "en"
    recommend: ModelConfig = field(default_factory=ModelConfig)
    cross_sell: CrossSellConfig = field(default_factory=CrossSellConfig)
    next_products: NextProductsConfig = field(default_factory=NextProductsConfig)
    up_sell: UpSellConfig = field(default_factory=UpSellConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    baskets: BasketsConfig = field(default_factory=BasketsConfig)
    out: str = MISSING


@dataclass
class BenchConfig:
    """``conf/bench.yaml``."""

    case: str | None = None
    size: str = "S"
    contestants: list[str] | None = None
    families: list[str] | None = None
    seeds: int = 1
    repeats: int = 3
    solver_seeds: int = 1
    threads: int | None = None
    memory_gib: float | None = None
    limit_s: float = 600.0
    keep: str | None = None
    out: str | None = None
    again: bool = False


@dataclass
class ServerConfig:
    """The keys ``serve.…``; :class:`engine.serving.settings.ServeSettings` says what they mean and checks them."""

    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    tokens: str | None = None
    tls_certificate: str | None = None
    tls_key: str | None = None
    behind_proxy: bool = False
    proxies: list[str] = field(default_factory=lambda: ["127.0.0.1", "::1"])
    hosts: list[str] = field(default_factory=list)
    rate: float | None = None
    max_body_mib: float = 64.0
    max_rows: int = 1_000_000
    metrics_public: bool = False
    log: str = "plain"


@dataclass
class TokenConfig:
    """The keys ``token.…``."""

    name: str | None = None
    role: str = "classify"


@dataclass
class ServeConfig:
    """``conf/serve.yaml``."""

    action: str = "serve"
    bundle: str | None = None
    customers: str | None = None
    lake: str | None = None
    recommender: str | None = None
    runs: list[str] = field(default_factory=list)
    language: str = "en"
    serve: ServerConfig = field(default_factory=ServerConfig)
    token: TokenConfig = field(default_factory=TokenConfig)
    out: str = MISSING


@dataclass
class DoctorConfig:
    """``conf/doctor.yaml``."""

    out: str = "runs"


def public_yaml(config: DictConfig) -> str:
    """Return a composed configuration as YAML to be kept with the results: no user name and no password in it."""
    from engine.tracking import redacted

    public = config.copy()
    uri = OmegaConf.select(public, "tracking.uri")
    if isinstance(uri, str):
        OmegaConf.update(public, "tracking.uri", redacted(uri))
    return OmegaConf.to_yaml(public)


Config = TypeVar("Config")


def typed(config: DictConfig, kind: type[Config]) -> Config:
    """Return a composed configuration as its dataclass.

    Raises
    ------
    SettingError
        A value of the wrong type, an unknown key, or a required key without a value.
    """
    from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException, ValidationError

    from experiments.failures import type_message

    missing = sorted(name for name in OmegaConf.missing_keys(config) if not name.startswith("data."))
    if missing:
        raise SettingError(f"{', '.join(missing)}: required; give {missing[0]}=… on the command line.")
    # The group `data` is checked by the recipe itself, which knows which of its keys are required.
    data = OmegaConf.to_container(config.data, resolve=True) if OmegaConf.is_config(config.get("data")) else None
    rest = OmegaConf.masked_copy(config, [str(name) for name in config if name != "data"])
    try:
        schema = OmegaConf.structured(kind)
        if "data" in config:
            schema.data = None
        settings = OmegaConf.to_object(OmegaConf.merge(schema, rest))
    except (ValidationError, ConfigKeyError, ConfigAttributeError) as error:
        key = str(error.full_key)
        came = OmegaConf.select(rest, key)
        plain = OmegaConf.to_container(came) if OmegaConf.is_config(came) else came
        raise SettingError(type_message(kind, key, plain)) from None
    except OmegaConfBaseException as error:
        key = getattr(error, "full_key", None) or "a setting"
        reason = str(error).strip().splitlines()[0]
        raise SettingError(f"{key}: {reason}") from None
    if "data" in config:
        settings.data = data  # type: ignore[union-attr]
    for each in dataclasses.fields(kind):  # type: ignore[arg-type]
        value = getattr(settings, each.name)
        if value is None and (each.name == "data" or each.default_factory is not dataclasses.MISSING):
            raise SettingError(f"{each.name}: expected a group ({each.name}=NAME) or its keys; got null.")
        if value == "":
            raise SettingError(f"{each.name}: expected a value, or null; got an empty text.")
    return settings  # type: ignore[return-value]

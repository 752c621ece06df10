"""A round trip through Feast's Redis online store; run by scripts/client-round-trips.py: feast_store.py PORT DIRECTORY

Two entities, two feature views and a feature service: features are written by `materialize` and by
`write_to_online_store`, read by `get_online_features`, and removed by `teardown`.
"""

import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pandas as pd
import redis
from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource, RepoConfig
from feast.infra.offline_stores.dask import DaskOfflineStoreConfig
from feast.infra.online_stores.redis import RedisOnlineStoreConfig
from feast.types import Float32, Int64, String
from feast.value_type import ValueType

PORT, HOME = int(sys.argv[1]), Path(sys.argv[2])
NOW = datetime.now(timezone.utc).replace(microsecond=0)
DRIVERS = 500


def source(name, columns):
    """A Parquet file with these columns beside the time of each row."""
    frame = pd.DataFrame({**columns, "at": NOW - timedelta(hours=1)})
    path = HOME / f"{name}.parquet"
    frame.to_parquet(path)
    return FileSource(name=name, path=str(path), timestamp_field="at")


def main():
    config = RepoConfig(
        registry=str(HOME / "registry.db"),
        project="terrace",
        provider="local",
        offline_store=DaskOfflineStoreConfig(),
        online_store=RedisOnlineStoreConfig(connection_string=f"127.0.0.1:{PORT}", key_ttl_seconds=3600),
        entity_key_serialization_version=3,
    )
    store = FeatureStore(config=config)
    driver = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
    city = Entity(name="city", join_keys=["city_id"], value_type=ValueType.STRING)
    ids = list(range(DRIVERS))
    trips = FeatureView(
        name="trips",
        entities=[driver],
        ttl=timedelta(days=1),
        schema=[Field(name="trips", dtype=Int64), Field(name="rating", dtype=Float32)],
        source=source("trips", {"driver_id": ids, "trips": [n * 3 for n in ids], "rating": [n / 8 for n in ids]}),
    )
    weather = FeatureView(
        name="weather",
        entities=[city],
        ttl=timedelta(days=1),
        schema=[Field(name="sky", dtype=String)],
        source=source("weather", {"city_id": ["Graz", "Linz"], "sky": ["clear", "rain"]}),
    )
    service = FeatureService(name="all", features=[trips, weather])
    store.apply([driver, city, trips, weather, service])
    store.materialize(NOW - timedelta(days=1), NOW)

    def read(rows):
        return store.get_online_features(features=service, entity_rows=rows).to_dict()

    rows = [{"driver_id": n, "city_id": "Graz" if n % 2 else "Linz"} for n in [*ids, DRIVERS + 1]]
    found = read(rows)
    assert found["trips"] == [*(n * 3 for n in ids), None], found["trips"][:5]
    assert found["rating"] == [*(n / 8 for n in ids), None]
    assert found["sky"] == ["clear" if n % 2 else "rain" for n in [*ids, DRIVERS + 1]]

    pushed = pd.DataFrame({"driver_id": [7], "trips": [1000], "rating": [4.5], "at": [NOW]})
    store.write_to_online_store("trips", pushed)
    assert read(rows[7:9])["trips"] == [1000, 24]

    client = redis.Redis(port=PORT)
    keys = client.dbsize()
    assert keys == DRIVERS + 2, keys
    assert 3000 < client.ttl(client.randomkey()) <= 3600
    store.teardown()
    assert client.dbsize() == 0, client.dbsize()
    print(f"{keys} entities, {len(rows)} rows read, torn down")


main()

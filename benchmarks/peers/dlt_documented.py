"""dlt's REST API source as its documentation shows it: an offset paginator, a primary key, disposition merge."""

from __future__ import annotations

import json
import sys
import time

import dlt
from dlt.sources.rest_api import RESTAPIConfig, rest_api_source


def main(base_url: str, database_url: str) -> None:
    config: RESTAPIConfig = {
        "client": {
            "base_url": base_url,
            "paginator": {"type": "offset", "limit": 2_000, "total_path": None},
        },
        "resource_defaults": {"primary_key": "_id", "write_disposition": "merge"},
        "resources": [{"name": "deals", "endpoint": {"path": "deals", "params": {"sort": "_id"}}}],
    }
    pipeline = dlt.pipeline(
        pipeline_name="planhat",
        destination=dlt.destinations.postgres(database_url),
        dataset_name="planhat_data",
    )
    pipeline.run(rest_api_source(config)).raise_on_failed_jobs()


if __name__ == "__main__":
    begun = time.perf_counter()
    main(*sys.argv[1:])
    print(json.dumps({"seconds": round(time.perf_counter() - begun, 3)}))

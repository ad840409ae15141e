"""dlt tuned by someone who knows it: COPY from CSV files, upsert, no nesting, a cursor that stops early, workers."""

from __future__ import annotations

import json
import os
import sys
import time

# Read by dlt when it is imported and configured, as a config.toml would be.
os.environ |= {
    "NORMALIZE__WORKERS": "2",
    "SOURCES__DATA_WRITER__FILE_MAX_ITEMS": "20000",
    "NORMALIZE__DATA_WRITER__FILE_MAX_ITEMS": "20000",
    "DATA_WRITER__BUFFER_MAX_ITEMS": "20000",
    "NORMALIZE__DATA_WRITER__DISABLE_COMPRESSION": "true",
    "DATA_WRITER__DISABLE_COMPRESSION": "true",
    "LOAD__DELETE_COMPLETED_JOBS": "true",
}

import dlt
from dlt.sources.rest_api import RESTAPIConfig, rest_api_source


def main(base_url: str, database_url: str, reading: str) -> None:
    """`reading` is `cursor` (what changed by the source's clock) or `everything` (trusting no clock)."""
    cursor = {"cursor_path": "updatedAt", "initial_value": "2000-01-01T00:00:00.000Z", "row_order": "desc"}
    endpoint = {"path": "deals", "params": {"sort": "_id"}}
    if reading == "cursor":
        endpoint = {"path": "deals", "params": {"sort": "-updatedAt"}, "incremental": cursor}
    config: RESTAPIConfig = {
        "client": {
            "base_url": base_url,
            "paginator": {"type": "offset", "limit": 2_000, "total_path": None},
        },
        "resources": [
            {
                "name": "deals",
                "primary_key": "_id",
                "write_disposition": {"disposition": "merge", "strategy": "upsert"},
                "max_table_nesting": 0,
                "endpoint": endpoint,
            }
        ],
    }
    pipeline = dlt.pipeline(
        pipeline_name="planhat",
        destination=dlt.destinations.postgres(database_url),
        dataset_name="planhat_data",
    )
    pipeline.run(rest_api_source(config), loader_file_format="csv").raise_on_failed_jobs()


if __name__ == "__main__":
    begun = time.perf_counter()
    main(*sys.argv[1:])
    print(json.dumps({"seconds": round(time.perf_counter() - begun, 3)}))

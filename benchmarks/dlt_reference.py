"""dlt on the same task, set up as its documentation says: rest_api source, page_number paginator, merge by upsert.

Runs in dlt's own virtual environment (created by `make bench`), configured by the pipeline's environment variables;
argument 1 is its working folder. Its fast options are on: CSV files, which are loaded into PostgreSQL by COPY, one
table without child tables, and one normalise process per core.
"""

import os
import sys
from urllib.parse import quote

os.environ |= {
    "RUNTIME__DLTHUB_TELEMETRY": "false",
    "RUNTIME__LOG_LEVEL": "ERROR",
    "NORMALIZE__WORKERS": str(os.cpu_count()),
    "DATA_WRITER__BUFFER_MAX_ITEMS": "50000",
    "DATA_WRITER__FILE_MAX_ITEMS": "100000",
}

import dlt
import requests
from dlt.sources.rest_api import rest_api_source

ENV = os.environ


def signed_in() -> str:
    """An LMS token."""
    credentials = {
        "username": ENV["LMS_USERNAME"],
        "password": ENV["LMS_PASSWORD"],
        "privateKey": ENV["LMS_PRIVATE_KEY"],
    }
    headers = {"x-api-key": ENV["LMS_PRIVATE_KEY"]}
    return str(
        requests.post(f"{ENV['REST_API_URL']}/authenticate", json=credentials, headers=headers, timeout=60).json()
    )


def main() -> None:
    """Load the department's members into PostgreSQL: the table `members` in the schema `dlt`."""
    headers = {"x-api-key": ENV["LMS_PRIVATE_KEY"], "Authorization": f"Bearer {signed_in()}"}
    paginator = {"type": "page_number", "base_page": 0, "page_param": "_offset", "total_path": None}
    source = rest_api_source(
        {
            "client": {"base_url": ENV["REST_API_URL"], "headers": headers, "paginator": paginator},
            "resources": [
                {
                    "name": "members",
                    "primary_key": "id",
                    "write_disposition": {"disposition": "merge", "strategy": "upsert"},
                    "max_table_nesting": 0,
                    "columns": {"customFields": {"data_type": "json"}},
                    "endpoint": {
                        "path": "users",
                        "params": {"_filter": f"departmentId eq guid'{ENV['DEPARTMENT_ID']}'", "_limit": 1000},
                        "data_selector": "users",
                    },
                }
            ],
        }
    )
    user, password = quote(ENV["BUSINESS_TRACKING_USER"], safe=""), quote(ENV["BUSINESS_TRACKING_PASSWORD"], safe="")
    server = f"{ENV['BUSINESS_TRACKING_HOST']}:{ENV['BUSINESS_TRACKING_PORT']}/{ENV['BUSINESS_TRACKING_DBNAME']}"
    pipeline = dlt.pipeline(
        pipeline_name="members",
        pipelines_dir=sys.argv[1],
        destination=dlt.destinations.postgres(f"postgresql://{user}:{password}@{server}"),
        dataset_name="dlt",
    )
    pipeline.run(source, loader_file_format="csv")


if __name__ == "__main__":
    main()

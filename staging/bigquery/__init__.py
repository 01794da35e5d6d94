"""A small first version of BigQuery: tables in memory, and the requests that read and fill them."""

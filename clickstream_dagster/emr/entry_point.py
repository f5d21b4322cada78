"""The script that EMR Serverless starts."""

from clickstream_dagster.emr.job import main

main()

{#
  The query of the source's freshness: when the newest event arrived, of those of the last days, so
  that not every file of the lake is opened; null without one.
#}
{% macro newest_arrival() %}
    select {{ ms_to_timestamp("max(ingest_timestamp)") }}
    from {{ source("lake", "ods_event") }}
    where event_date >= {{ dbt.dateadd("day", -7, "current_date") }}
{% endmacro %}

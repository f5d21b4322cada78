{{ config(meta={
    "follows": "clickstream_user_attr_day_base",
    "reopens": ["app_id", "user_pseudo_id"],
    "form": 3,
}) }}
{{ partitioned_by("app_id") }}

{%- set loads = loads_to_take_in() %}

with days as (
    select d.*
    from {{ ref("clickstream_user_attr_day_base") }} as d
    {{ reopened(loads, "d", dated=false) }}
)

select
    app_id,
    user_pseudo_id,
    attr_key,
    attr_value,
    cast({{ loads.upto }} as bigint) as load_id
from {{ last_rows(
    "days",
    ["app_id", "user_pseudo_id", "attr_key"],
    ["attr_value"],
    ["set_timestamp_micros", "event_timestamp", "event_id"],
) }} as last_set

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
),

numbered as (
    select
        *,
        row_number() over (
            partition by app_id, user_pseudo_id, attr_key
            order by set_timestamp_micros desc, event_timestamp desc, event_id desc
        ) as nth_from_last
    from days
)

select
    app_id,
    user_pseudo_id,
    attr_key,
    attr_value,
    cast({{ loads.upto }} as bigint) as load_id
from numbered
where nth_from_last = 1

{{ config(meta={
    "defined_by": ["first_touch_events", "time_zone"],
    "follows": "clickstream_user_day_base",
    "reopens": ["app_id", "user_pseudo_id"],
    "notes": "first_active_date",
    "form": 3,
}) }}
{{ partitioned_by("app_id") }}

{%- set loads = loads_to_take_in() %}

with days as (
    select d.*
    from {{ ref("clickstream_user_day_base") }} as d
    {{ reopened(loads, "d", dated=false) }}
),

numbered as (
    select
        *,
        row_number() over (
            partition by app_id, user_pseudo_id
            order by is_first_touch desc, touch_timestamp, touch_event_id
        ) as nth_touch,
        row_number() over (
            partition by app_id, user_pseudo_id
            order by
                case when last_user_id is null then 1 else 0 end,
                last_login_timestamp desc,
                report_date desc
        ) as nth_login_from_last
    from days
)

select
    app_id,
    user_pseudo_id,
    min(report_date) as first_active_date,
    max(report_date) as last_active_date,
    max(case when nth_touch = 1 then touch_user_id end) as first_user_id,
    max(case when nth_touch = 1 then report_date end) as first_visit_date,
    max(case when nth_touch = 1 then touch_install_source end) as first_visit_install_source,
    max(case when nth_touch = 1 then touch_device_language end) as first_visit_device_language,
    max(case when nth_touch = 1 then touch_platform end) as first_platform,
    max(case when nth_touch = 1 then touch_country end) as first_visit_country,
    max(case when nth_touch = 1 then touch_city end) as first_visit_city,
    max(case when nth_touch = 1 then touch_traffic_source_source end)
        as first_traffic_source_source,
    max(case when nth_touch = 1 then touch_traffic_source_medium end)
        as first_traffic_source_medium,
    max(case when nth_touch = 1 then touch_traffic_source_name end) as first_traffic_source_name,
    max(is_registered) as is_registered,
    max(case when nth_login_from_last = 1 then last_user_id end) as last_user_id,
    cast({{ loads.upto }} as bigint) as load_id
from numbered
group by app_id, user_pseudo_id

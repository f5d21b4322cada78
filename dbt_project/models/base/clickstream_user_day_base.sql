{{ config(meta={
    "defined_by": ["first_touch_events", "purchase_events", "time_zone", "view_events"],
    "follows": "clickstream_event_base",
    "reopens": ["app_id", "user_pseudo_id", "report_date"],
    "dated": "report_date",
    "form": 3,
}) }}
{{ partitioned_by("app_id", "month(report_date)") }}

{%- set loads = loads_to_take_in() %}

{%- set is_purchase -%}
    case when {{ is_one_of("event_name", var("purchase_events")) }} then 1 else 0 end
{%- endset %}

with events as (
    select
        e.*,
        nullif(e.user_id, '') as known_user_id,
        case when {{ is_one_of("e.event_name", var("first_touch_events")) }} then 1 else 0 end
            as is_first_touch,
        {{ known_at("e.event_timestamp", "e.ingest_timestamp") }} as known_timestamp
    from {{ ref("clickstream_event_base") }} as e
    {{ reopened(loads, "e") }}
),

numbered as (
    select
        *,
        row_number() over (
            partition by app_id, user_pseudo_id, report_date
            order by is_first_touch desc, event_timestamp, event_id
        ) as nth_touch,
        row_number() over (
            partition by app_id, user_pseudo_id, report_date
            order by
                case when known_user_id is null then 1 else 0 end,
                known_timestamp desc,
                event_timestamp desc,
                event_id desc
        ) as nth_login_from_last
    from events
    where user_pseudo_id is not null
)

select
    app_id,
    user_pseudo_id,
    report_date,
    count(*) as event_count,
    cast(sum(case when event_name = '_session_start' then 1 else 0 end) as bigint)
        as session_start_count,
    cast(sum(case when {{ is_view_event("event_name") }} then 1 else 0 end) as bigint)
        as view_count,
    cast(
        coalesce(sum(case when event_name = '_user_engagement' then engagement_time_msec end), 0)
        as bigint
    ) as engagement_time,
    cast(sum({{ is_purchase }}) as bigint) as purchase_count,
    cast(
        coalesce(
            sum(case
                when {{ is_purchase }} = 1 and abs(event_value_in_usd) < 1000000000000
                    then cast(event_value_in_usd as decimal(20, 6))
            end),
            0
        )
        as decimal(38, 6)
    ) as purchase_value_in_usd,
    max(case when is_first_touch = 0 and known_user_id is not null then 1 else 0 end)
        as is_registered,
    max(is_first_touch) as is_first_touch,
    max(case when nth_touch = 1 then event_timestamp end) as touch_timestamp,
    max(case when nth_touch = 1 then event_id end) as touch_event_id,
    max(case when nth_touch = 1 then user_id end) as touch_user_id,
    max(case when nth_touch = 1 then app_info_install_source end) as touch_install_source,
    max(case when nth_touch = 1 then device_system_language end) as touch_device_language,
    max(case when nth_touch = 1 then platform end) as touch_platform,
    max(case when nth_touch = 1 then geo_country end) as touch_country,
    max(case when nth_touch = 1 then geo_city end) as touch_city,
    max(case when nth_touch = 1 then traffic_source_source end) as touch_traffic_source_source,
    max(case when nth_touch = 1 then traffic_source_medium end) as touch_traffic_source_medium,
    max(case when nth_touch = 1 then traffic_source_name end) as touch_traffic_source_name,
    max(case when nth_login_from_last = 1 then known_user_id end) as last_user_id,
    max(case when nth_login_from_last = 1 and known_user_id is not null then known_timestamp end)
        as last_login_timestamp,
    cast({{ loads.upto }} as bigint) as load_id
from numbered
group by app_id, user_pseudo_id, report_date

{{ config(meta={
    "defined_by": ["first_touch_events", "purchase_events", "time_zone", "view_events"],
    "follows": "clickstream_event_base",
    "reopens": ["app_id", "user_pseudo_id", "report_date"],
    "dated": "report_date",
    "form": 3,
}) }}
{{ partitioned_by("app_id", "month(report_date)") }}

{%- set loads = loads_to_take_in() %}

{%- set key = ["app_id", "user_pseudo_id", "report_date"] %}
{%- set touched = ["1 - is_first_touch", "event_timestamp", "event_id"] %}
{%- set touch = {
    "event_timestamp": "touch_timestamp",
    "event_id": "touch_event_id",
    "user_id": "touch_user_id",
    "app_info_install_source": "touch_install_source",
    "device_system_language": "touch_device_language",
    "platform": "touch_platform",
    "geo_country": "touch_country",
    "geo_city": "touch_city",
    "traffic_source_source": "touch_traffic_source_source",
    "traffic_source_medium": "touch_traffic_source_medium",
    "traffic_source_name": "touch_traffic_source_name",
} %}
{%- set logged_in = [
    "case when known_user_id is null then 0 else 1 end",
    "known_timestamp",
    "event_timestamp",
    "event_id",
] %}

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
        *
        {{ numbered("nth_touch", key, touched) }}
        {{ numbered("nth_login_from_last", key, logged_in, last=true) }}
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
    {%- for column, name in touch.items() %}
    {{ value_at(column, "nth_touch", touched) }} as {{ name }},
    {%- endfor %}
    {{ value_at("known_user_id", "nth_login_from_last", logged_in, last=true) }} as last_user_id,
    {{ value_at(
        "case when known_user_id is not null then known_timestamp end",
        "nth_login_from_last",
        logged_in,
        last=true,
    ) }} as last_login_timestamp,
    cast({{ loads.upto }} as bigint) as load_id
from numbered
group by {{ key | join(", ") }}

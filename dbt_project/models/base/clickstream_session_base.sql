{{ config(meta={
    "defined_by": ["session_idle_minutes", "time_zone", "view_events"],
    "follows": "clickstream_event_base",
    "reopens": ["app_id", "session_key", "user_pseudo_id", "platform"],
    "spans": true,
    "notes": "report_date",
    "form": 3,
}) }}
{{ partitioned_by("app_id", "month(first_event_date)") }}

{%- set loads = loads_to_take_in() %}
{%- set key = ["app_id", "session_key", "user_pseudo_id", "platform"] %}
{%- set order = ["event_timestamp", "event_id"] %}

with events as (
    select
        e.*,
        {{ told_start("e.session_start_timestamp", "e.event_timestamp") }} as told_start,
        case when {{ is_view_event("e.event_name") }} then 1 else 0 end as is_view
    from {{ ref("clickstream_event_base") }} as e
    {{ reopened(loads, "e") }}
),

numbered as (
    select
        *
        {{ numbered("nth", key + ["is_view"], order) }}
        {{ numbered("nth_from_last", key + ["is_view"], order, last=true) }}
    from events
)

select
    app_id,
    session_key,
    user_pseudo_id,
    platform,
    cast(
        {{ ms_trunc("day", "coalesce(min(told_start), min(event_timestamp))") }} as date
    ) as report_date,
    coalesce(
        max(session_duration), {{ int32("(max(event_timestamp) - min(event_timestamp))") }}
    ) as session_duration,
    cast(sum(is_view) as bigint) as session_views,
    coalesce(min(told_start), min(event_timestamp)) as session_start_timestamp,
    cast(
        coalesce(sum(case when event_name = '_user_engagement' then engagement_time_msec end), 0)
        as bigint
    ) as session_engagement_time,
    {{ value_at("view_name", "nth", order, among="is_view = 1") }} as entry_view,
    {{ value_at("view_name", "nth_from_last", order, last=true, among="is_view = 1") }} as exit_view,
    count(*) as event_count,
    min(event_date) as first_event_date,
    max(event_date) as last_event_date,
    cast({{ loads.upto }} as bigint) as load_id
from numbered
group by {{ key | join(", ") }}

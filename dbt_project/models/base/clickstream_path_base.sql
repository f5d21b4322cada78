{{ config(meta={
    "defined_by": ["session_idle_minutes", "time_zone", "view_events"],
    "follows": "clickstream_session_base",
    "reopens": ["app_id", "session_key", "user_pseudo_id"],
    "dated": "event_date",
    "form": 4,
}) }}
{{ partitioned_by("app_id", "month(event_date)") }}

{%- set loads = loads_to_take_in() %}
{#- Redshift has no window clause. #}
{%- set key = ["app_id", "user_pseudo_id", "session_key"] %}
{%- set order = ["event_timestamp", "event_id"] %}
{%- set in_session -%}
    partition by {{ key | join(", ") }} order by {{ order | join(", ") }}
{%- endset %}
{%- set so_far -%}
    {{ in_session }} rows between unbounded preceding and current row
{%- endset %}

-- The sessions tell which events to read again: depends_on {{ ref("clickstream_session_base") }}
with events as (
    select
        e.*,
        case when {{ is_view_event("e.event_name") }} then 1 else 0 end as is_view
    from {{ ref("clickstream_event_base") }} as e
    {{ reopened(loads, "e") }}
)

select
    app_id,
    session_key,
    user_pseudo_id,
    event_date,
    event_id,
    event_name,
    event_timestamp,
    platform,
    session_key as session_id,
    view_name as current_screen,
    row_number() over ({{ in_session }}) as event_rank,
    lag(event_name) over ({{ in_session }}) as previous_event,
    lead(event_name) over ({{ in_session }}) as next_event,
    lag(view_name) over ({{ in_session }}) as previous_screen,
    lead(view_name) over ({{ in_session }}) as next_screen,
    case when is_view = 1 then cast(sum(is_view) over ({{ so_far }}) as bigint) end as view_rank,
    case when is_view = 1 then {{ next_among("view_name", "is_view", key, order) }} end
        as next_view,
    report_date,
    cast({{ loads.upto }} as bigint) as load_id
from events

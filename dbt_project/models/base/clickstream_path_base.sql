{{ config(meta={
    "defined_by": ["session_idle_minutes", "time_zone", "view_events"],
    "follows": "clickstream_session_base",
    "reopens": ["app_id", "session_key", "user_pseudo_id"],
    "dated": "event_date",
}) }}
{{ partitioned_by("app_id", "month(event_date)") }}

{%- set loads = loads_to_take_in() %}
{#- Redshift has no window clause. #}
{%- set in_session -%}
    partition by app_id, user_pseudo_id, session_key order by event_timestamp, event_id
{%- endset %}

-- The sessions tell which events to read again: depends_on {{ ref("clickstream_session_base") }}
with events as (
    select e.*
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
    report_date,
    cast({{ loads.upto }} as bigint) as load_id
from events

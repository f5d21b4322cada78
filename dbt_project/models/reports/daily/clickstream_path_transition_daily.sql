{{ config(meta={
    "follows": "clickstream_path_base",
    "reopens": ["app_id", "report_date"],
    "dated": "report_date",
    "form": 4,
    "defined_by": ["session_idle_minutes", "time_zone", "view_events"],
}) }}
{{ partitioned_by("app_id", "month(report_date)") }}

{%- set loads = loads_to_take_in() %}

with steps as (
    select p.*
    from {{ ref("clickstream_path_base") }} as p
    {{ reopened(loads, "p") }}
),

edges as (
    select
        app_id,
        report_date,
        platform,
        user_pseudo_id,
        'event' as node_type,
        event_rank as place,
        event_name as source,
        next_event as target
    from steps
    where user_pseudo_id is not null and next_event is not null
    union all
    select
        app_id,
        report_date,
        platform,
        user_pseudo_id,
        'view' as node_type,
        view_rank as place,
        current_screen as source,
        next_view as target
    from steps
    where user_pseudo_id is not null and current_screen is not null and next_view is not null
)

select
    app_id,
    report_date,
    platform,
    node_type,
    case when place < 10 then place else 10 end as step,
    source,
    target,
    count(*) as transition_count,
    count(distinct user_pseudo_id) as user_count,
    cast({{ loads.upto }} as bigint) as load_id
from edges
group by 1, 2, 3, 4, 5, 6, 7

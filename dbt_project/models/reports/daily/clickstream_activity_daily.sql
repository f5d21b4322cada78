{{ config(meta={
    "follows": "clickstream_event_base",
    "awaits": ["clickstream_user_base"],
    "reopens": ["app_id", "report_date"],
    "dated": "report_date",
    "defined_by": ["time_zone", "view_events"],
}) }}
{{ partitioned_by("app_id", "month(report_date)") }}

{%- set loads = loads_to_take_in() %}

with events as (
    select e.*
    from {{ ref("clickstream_event_base") }} as e
    {{ reopened(loads, "e") }}
)

select
    e.app_id,
    e.report_date,
    e.event_name,
    e.platform,
    e.app_info_version,
    case
        when u.first_active_date = e.report_date then 'new'
        when u.first_active_date is not null then 'existing'
    end as user_type,
    e.view_name,
    count(*) as event_count,
    count(distinct e.user_pseudo_id) as user_count,
    cast({{ loads.upto }} as bigint) as load_id
from events as e
left join {{ ref("clickstream_user_base") }} as u
    on e.app_id = u.app_id and e.user_pseudo_id = u.user_pseudo_id
group by 1, 2, 3, 4, 5, 6, 7

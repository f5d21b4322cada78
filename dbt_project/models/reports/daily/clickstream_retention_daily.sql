{{ config(meta={
    "follows": "clickstream_user_day_base",
    "awaits": ["clickstream_user_base"],
    "reopens": ["app_id", "report_date"],
    "dated": "report_date",
    "reaches": var("retention_days") | int,
    "defined_by": ["retention_days", "time_zone"],
}) }}
{{ partitioned_by("app_id", "month(report_date)") }}

{%- set loads = loads_to_take_in() %}

with returned as (
    select
        d.app_id,
        d.report_date,
        u.first_active_date as first_date,
        {{ dbt.datediff("u.first_active_date", "d.report_date", "day") }} as day_diff
    from {{ ref("clickstream_user_day_base") }} as d
    inner join {{ ref("clickstream_user_base") }} as u
        on d.app_id = u.app_id and d.user_pseudo_id = u.user_pseudo_id
    {{ reopened(loads, "d") }}
)

select
    app_id,
    report_date,
    first_date,
    day_diff,
    count(*) as returned_user_count,
    cast({{ loads.upto }} as bigint) as load_id
from returned
where day_diff between 0 and {{ var("retention_days") | int }}
group by app_id, report_date, first_date, day_diff

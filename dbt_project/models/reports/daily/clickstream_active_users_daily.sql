{{ config(meta={
    "follows": "clickstream_user_day_base",
    "awaits": ["clickstream_user_base"],
    "reopens": ["app_id", "report_date"],
    "dated": "report_date",
    "reaches": 29,
    "defined_by": ["first_touch_events", "purchase_events", "time_zone", "view_events"],
}) }}
{{ partitioned_by("app_id", "month(report_date)") }}

{%- set loads = loads_to_take_in() %}

with days as (
    select
        d.app_id,
        d.report_date,
        count(*) as daily_active_users,
        sum(case when u.first_active_date = d.report_date then 1 else 0 end) as new_users,
        sum(d.event_count) as event_count,
        sum(d.view_count) as view_count,
        sum(d.engagement_time) as engagement_time,
        sum(d.purchase_count) as purchase_count,
        sum(case when d.purchase_count > 0 then 1 else 0 end) as purchasers,
        sum(d.purchase_value_in_usd) as purchase_value_in_usd
    from {{ ref("clickstream_user_day_base") }} as d
    inner join {{ ref("clickstream_user_base") }} as u
        on d.app_id = u.app_id and d.user_pseudo_id = u.user_pseudo_id
    {{ reopened(loads, "d") }}
    group by d.app_id, d.report_date
),

recent as (
    select
        days.app_id,
        days.report_date,
        count(distinct case
            when r.report_date > {{ dbt.dateadd("day", -7, "days.report_date") }}
                then r.user_pseudo_id
        end) as weekly_active_users,
        count(distinct r.user_pseudo_id) as monthly_active_users
    from days
    inner join {{ ref("clickstream_user_day_base") }} as r
        on
            days.app_id = r.app_id
            and days.report_date >= r.report_date
            and r.report_date > {{ dbt.dateadd("day", -30, "days.report_date") }}
    {%- if not loads.all %}
    where {{ in_ranges("r.report_date", widened(touched_ranges(loads), 29)) }}
    {%- endif %}
    group by days.app_id, days.report_date
)

select
    days.app_id,
    days.report_date,
    days.daily_active_users,
    recent.weekly_active_users,
    recent.monthly_active_users,
    {{ ratio("days.daily_active_users", "recent.weekly_active_users") }} as dau_wau,
    {{ ratio("recent.weekly_active_users", "recent.monthly_active_users") }} as wau_mau,
    {{ ratio("days.daily_active_users", "recent.monthly_active_users") }} as dau_mau,
    cast(days.new_users as bigint) as new_users,
    cast(days.daily_active_users - days.new_users as bigint) as existing_users,
    cast(days.event_count as bigint) as event_count,
    cast(days.view_count as bigint) as view_count,
    cast(days.engagement_time as bigint) as engagement_time,
    cast(days.purchase_count as bigint) as purchase_count,
    cast(days.purchasers as bigint) as purchasers,
    cast(days.purchase_value_in_usd as decimal(38, 6)) as purchase_value_in_usd,
    cast({{ loads.upto }} as bigint) as load_id
from days
inner join recent on days.app_id = recent.app_id and days.report_date = recent.report_date

{{ config(
    meta={
        "description": "Who comes (new or returned) goes again, at the latest one period after the last "
        ~ "event.",
        "dagster": {"ref": {"name": "clickstream_lifecycle_daily_view"}},
    },
) }}
{% set views = {
    "clickstream_lifecycle_daily_view": "this_day_value",
    "clickstream_lifecycle_weekly_view": "this_week_value",
} %}
{% for view, stage in views.items() %}
select app_id, '{{ view }}' as name, sum(sum) as difference
from {{ ref(view) }}
where {{ stage }} <> '2-ACTIVE' and {{ only_when_everything_is_tested() }}
group by app_id
having sum(sum) <> 0
{{ "union all" if not loop.last }}
{% endfor %}

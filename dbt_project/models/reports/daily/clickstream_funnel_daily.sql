{{ config(meta={
    "follows": "clickstream_user_day_base",
    "reopens": ["app_id", "report_date"],
    "dated": "report_date",
    "reaches_back": funnel_days(var("funnels")),
    "defined_by": ["funnels", "time_zone"],
}) }}
{{ partitioned_by("app_id", "month(report_date)") }}

-- The days of users tell which days to count anew: depends_on {{ ref("clickstream_user_day_base") }}
{{ funnel_steps(var("funnels"), loads_to_take_in()) }}

{{ config(meta={
    "follows": "clickstream_session_base",
    "reopens": ["app_id", "report_date"],
    "dated": "report_date",
    "form": 4,
    "defined_by": [
        "engaged_session_ms",
        "engaged_session_views",
        "session_idle_minutes",
        "time_zone",
        "view_events",
    ],
}) }}
{{ partitioned_by("app_id", "month(report_date)") }}

{{ engagement_by([]) }}

{#
  Sessions by the day that they start on, and averages by session and by user (seed 000, Engagement
  report), as a model by `dimensions` beside the app and the day. A user of two dimensions counts in
  both, so that users and what is divided by them can't be added; a model without dimensions has
  those of the app. Sessions without a user count among the sessions, and not in what is per user.
#}
{% macro engagement_by(dimensions) %}
{%- set loads = loads_to_take_in() %}
{%- set key = (["app_id", "report_date"] + dimensions) | join(", ") %}
with sessions as (
    select
        s.*,
        case when {{ is_engaged("s.session_duration", "s.session_views") }} then 1 else 0 end
            as is_engaged
    from {{ ref("clickstream_session_base") }} as s
    {{ reopened(loads, "s") }}
),

days as (
    select
        {{ key }},
        count(*) as session_count,
        cast(sum(is_engaged) as bigint) as engaged_session_count,
        cast(sum(session_views) as bigint) as session_views,
        cast(sum(session_engagement_time) as bigint) as session_engagement_time,
        count(distinct user_pseudo_id) as user_count,
        sum(case when user_pseudo_id is not null then 1 end) as sessions_of_users,
        sum(case when user_pseudo_id is not null then is_engaged end) as engaged_sessions_of_users,
        sum(case when user_pseudo_id is not null then session_views end) as views_of_users,
        sum(case when user_pseudo_id is not null then session_engagement_time end)
            as engagement_time_of_users
    from sessions
    where report_date is not null
    group by {{ key }}
)

select
    {{ key }},
    session_count,
    engaged_session_count,
    session_count - engaged_session_count as bounced_session_count,
    session_views,
    session_engagement_time,
    user_count,
    {{ ratio("engaged_session_count", "session_count") }} as engagement_rate,
    {{ ratio("sessions_of_users", "user_count") }} as sessions_per_user,
    {{ ratio("engaged_sessions_of_users", "user_count") }} as engaged_sessions_per_user,
    {{ ratio("session_engagement_time", "session_count") }} as engagement_time_per_session,
    {{ ratio("engagement_time_of_users", "user_count") }} as engagement_time_per_user,
    {{ ratio("views_of_users", "user_count") }} as views_per_user,
    {{ ratio("session_views", "session_count") }} as views_per_session,
    cast({{ loads.upto }} as bigint) as load_id
from days
{% endmacro %}

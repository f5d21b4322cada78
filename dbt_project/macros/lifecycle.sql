{#
  The stages of users by day or week (seed 000, Retention report): new, active in the period
  before too, returned after a pause; and, as a negative number one period later, those who do not
  come back in the next one. A period counts for a user when it has a `_session_start`.

  `unit` is `day` or `week` (from the project's week start), `days` its length, `stage` the name of the stage's column.
#}
{% macro lifecycle(unit, days, stage) %}
with periods as (
    select distinct
        app_id,
        user_pseudo_id,
        {{ period_of(unit, "report_date") }} as time_period
    from {{ ref("clickstream_user_day_base") }}
    where session_start_count > 0
),

neighbours as (
    select
        app_id,
        time_period,
        lag(time_period) over (
            partition by app_id, user_pseudo_id order by time_period
        ) as previous_period,
        lead(time_period) over (
            partition by app_id, user_pseudo_id order by time_period
        ) as next_period
    from periods
),

stages as (
    select
        app_id,
        time_period,
        case
            when previous_period is null then '1-NEW'
            when {{ dbt.datediff("previous_period", "time_period", "day") }} = {{ days }}
                then '2-ACTIVE'
            else '3-RETURN'
        end as stage,
        1 as users
    from neighbours

    union all

    select
        app_id,
        cast({{ dbt.dateadd("day", days, "time_period") }} as date) as time_period,
        '0-CHURN' as stage,
        -1 as users
    from neighbours
    where
        -- Dates end with the year 9999: nobody leaves behind it.
        time_period <= date '{{ day_after(modules.datetime.date.max, -days) }}'
        and (
            next_period is null
            or {{ dbt.datediff("time_period", "next_period", "day") }} > {{ days }}
        )
)

select
    app_id,
    time_period,
    stage as {{ stage }},
    cast(sum(users) as bigint) as sum
from stages
group by app_id, time_period, stage
{% endmacro %}
